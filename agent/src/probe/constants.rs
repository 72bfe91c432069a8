//! Numbers that stand in the program's instructions: see [`Constants`].

use agent_ebpf::{Constants, features::in_load};
use aya::Pod;

use super::instructions::Instructions;

/// `BPF_ALU64 | BPF_MOV | BPF_K`: a register becomes a number.
const MOVE: u8 = 0xb7;
/// `BPF_LDX | BPF_MEM` of two, four and eight bytes.
const LOADS: [u8; 3] = [0x69, 0x61, 0x79];

/// Writes the numbers of this table in their places.
pub(super) fn write<T: Constants + Pod>(object: &mut Instructions, table: &T) {
    // SAFETY: every byte of a `Pod` is a value.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const *table).cast::<u8>(), size_of::<T>()) };
    write_into(object.each(), T::BASE, bytes.as_chunks().0);
}

fn write_into<'a>(instructions: impl Iterator<Item = &'a mut [u8; 8]>, base: u32, table: &[[u8; 4]]) {
    let first = in_load(base);
    let member_of = |offset: [u8; 2]| u16::from_le_bytes(offset).checked_sub(first).map(usize::from);
    for instruction in instructions {
        let [code, _, low, high, number @ ..] = instruction;
        if LOADS.contains(code)
            && let Some([first, second, ..]) = member_of([*low, *high]).and_then(|member| table.get(member))
        {
            // No offset has more: see `Layout::offset`.
            (*low, *high) = (*first, *second);
        } else if *code == MOVE
            && let Some(place) = u32::from_le_bytes(*number).checked_sub(base).filter(|place| place.is_multiple_of(4))
            && let Some(value) = table.get(place as usize / 4)
        {
            *number = *value;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::offset_of;

    use agent_ebpf::{Features, Offsets};

    use super::*;

    /// `r1 = number`.
    fn set(number: u32) -> [u8; 8] {
        let [a, b, c, d] = number.to_le_bytes();
        [MOVE, 1, 0, 0, a, b, c, d]
    }

    /// `r2 = *(r1 + offset)`.
    fn load(code: u8, offset: u16) -> [u8; 8] {
        let [low, high] = offset.to_le_bytes();
        [code, 0x12, low, high, 0, 0, 0, 0]
    }

    fn placeholder<T: Constants>(offset: usize) -> u32 {
        T::BASE + u32::try_from(offset).unwrap_or(0)
    }

    fn written<T: Constants + Pod>(table: &T, mut instructions: Vec<[u8; 8]>) -> Vec<[u8; 8]> {
        // SAFETY: every byte of a `Pod` is a value.
        let bytes = unsafe { std::slice::from_raw_parts((&raw const *table).cast::<u8>(), size_of::<T>()) };
        write_into(instructions.iter_mut(), T::BASE, bytes.as_chunks().0);
        instructions
    }

    #[test]
    fn a_table_is_written_where_its_placeholders_stand_and_nowhere_else() {
        let order = placeholder::<Features>(offset_of!(Features, order));
        let mut short = set(order);
        short[0] = 0xb4;
        let others = [placeholder::<Features>(size_of::<Features>()), Features::BASE - 1, Offsets::BASE].map(set);
        let instructions = [&[set(order), short][..], &others, &[set(Features::BASE)]].concat();
        let features = Features { typed_task: 7, order: 0x0102_0304, ..Features::default() };
        let expected = [&[set(0x0102_0304), short][..], &others, &[set(7)]].concat();
        assert_eq!(written(&features, instructions), expected);
    }

    #[test]
    fn an_offset_is_written_into_loads_of_each_length() {
        let tgid = placeholder::<Offsets>(offset_of!(Offsets, task_tgid));
        let offsets = Offsets { task_tgid: 0x1234, ..Offsets::default() };
        // Of another table, behind this one, and no load.
        let end = in_load(placeholder::<Offsets>(size_of::<Offsets>() - 4)) + 1;
        let others = [load(0x79, in_load(Features::BASE)), load(0x79, end), load(0x7b, in_load(tgid))];
        let loads = |offset| LOADS.map(|code| load(code, offset));
        let instructions = [&loads(in_load(tgid))[..], &others].concat();
        assert_eq!(written(&offsets, instructions), [&loads(0x1234)[..], &others].concat());
    }

    #[test]
    fn every_placeholder_of_the_program_is_one_of_a_table() {
        let mut object = Instructions::of(super::super::load::OBJECT);
        write(&mut object, &Features::default());
        write(&mut object, &Offsets::default());
        write(&mut object, &agent_ebpf::FillOffsets::default());
        write(&mut object, &agent_ebpf::ClientOffsets::default());
        write(&mut object, &agent_ebpf::OrderOffsets::default());
        let mut seen = 0;
        for instruction in object.each() {
            let [code, _, low, high, number @ ..] = *instruction;
            let is_left = LOADS.contains(&code) && (0x5a00..0x6000).contains(&u16::from_le_bytes([low, high]))
                || code == MOVE && (Features::BASE..Features::BASE + 0x5000).contains(&u32::from_le_bytes(number));
            assert!(!is_left, "{instruction:x?}");
            seen += 1;
        }
        assert!(seen > 5000, "{seen} instructions");
    }
}
