//! Numbers that stand in the program's instructions: see [`Constants`].

use agent_ebpf::Constants;
use aya::Pod;

/// `BPF_ALU64 | BPF_MOV | BPF_K`: a register becomes a number.
const MOVE: u8 = 0xb7;

/// The object with the numbers of this table in their places. Sections of instructions begin at multiples of 8, as every
/// instruction does.
pub(super) fn write<T: Constants + Pod>(mut object: Vec<u8>, table: &T) -> Vec<u8> {
    // SAFETY: every byte of a `Pod` is a value.
    let bytes = unsafe { std::slice::from_raw_parts((&raw const *table).cast::<u8>(), size_of::<T>()) };
    for [code, _, _, _, number @ ..] in object.as_chunks_mut::<8>().0 {
        let place = u32::from_le_bytes(*number).checked_sub(T::BASE).and_then(|place| usize::try_from(place).ok());
        if *code == MOVE
            && let Some(value) = place.and_then(|place| bytes.get(place..place + number.len()))
        {
            number.copy_from_slice(value);
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use agent_ebpf::{Features, Offsets};

    use super::*;

    /// `r1 = number`.
    fn instruction(code: u8, number: u32) -> Vec<u8> {
        [&[code, 1, 0, 0], &number.to_le_bytes()[..]].concat()
    }

    #[test]
    fn a_table_is_written_where_its_placeholders_stand_and_nowhere_else() {
        let order = Features::BASE + u32::try_from(std::mem::offset_of!(Features, order)).unwrap_or(0);
        let end = Features::BASE + u32::try_from(size_of::<Features>()).unwrap_or(0);
        let others = [(0xb4, order), (MOVE, end), (MOVE, Features::BASE - 1), (MOVE, Offsets::BASE), (0x07, order)];
        let others: Vec<u8> = others.into_iter().flat_map(|(code, number)| instruction(code, number)).collect();
        let object = [instruction(MOVE, order), others.clone(), instruction(MOVE, Features::BASE)].concat();
        let features = Features { typed_task: 7, order: 0x0102_0304, ..Features::default() };
        let expected = [instruction(MOVE, 0x0102_0304), others, instruction(MOVE, 7)].concat();
        assert_eq!(write(object, &features), expected);
    }
}
