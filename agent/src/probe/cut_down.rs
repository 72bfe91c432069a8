//! The few types that aya has to find, as type information in which each has the number that the kernel knows it by. aya
//! makes an object of every type that it is given: of a whole kernel's hundred thousand that takes 15 ms and 20 MB.

use aya::{Btf, Endianness};

use super::{
    Layout, attach,
    btf::{Kind, MAGIC},
    error::chain,
};

/// `BTF_KIND_FWD` (include/uapi/linux/btf.h): what stands for a type that nobody asks for, the shortest there is.
const FORWARD: u32 = 7 << 24;

/// The types that programs are hooked by, as far as the kernel has them.
///
/// # Errors
/// Why aya does not understand it.
pub(super) fn types(layout: &Layout) -> Result<Btf, String> {
    Btf::parse(&encode(named(layout)), Endianness::default()).map_err(|error| chain(&error))
}

fn named(layout: &Layout) -> Vec<(u32, String, Kind)> {
    attach::types().filter_map(|(name, kind)| Some((layout.id_of(&name, kind)?, name, kind))).collect()
}

fn encode(mut named: Vec<(u32, String, Kind)>) -> Vec<u8> {
    named.sort_unstable_by_key(|(id, ..)| *id);
    let (mut types, mut strings) = (Vec::new(), vec![0u8]);
    let mut next = 1;
    let mut put = |name: usize, info: u32| {
        // `struct btf_type`: its name, what it is, and the type that it is about, none.
        let words = [u32::try_from(name).unwrap_or(0), info, 0];
        types.extend(words.into_iter().flat_map(u32::to_ne_bytes));
    };
    for (id, name, kind) in named {
        (next..id).for_each(|_| put(0, FORWARD));
        put(strings.len(), u32::from(kind.number()) << 24);
        strings.extend(name.bytes().chain([0]));
        next = id + 1;
    }
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0);
    let mut bytes = MAGIC.to_ne_bytes().to_vec();
    // Version, flags; then the header's length and where types and strings lie behind it.
    bytes.extend([1, 0]);
    bytes.extend([24, 0, length(&types), length(&types), length(&strings)].into_iter().flat_map(u32::to_ne_bytes));
    [bytes, types, strings].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_type_has_the_number_that_it_has_in_the_whole() {
        let whole = Layout::parse(include_bytes!("fixtures/6.12-amd64.btf")).unwrap();
        let few = Layout::parse(&encode(named(&whole))).unwrap();
        let found = attach::types().filter(|(name, kind)| {
            let id = whole.id_of(name, *kind);
            assert_eq!(few.id_of(name, *kind), id, "{name}");
            id.is_some()
        });
        assert!(found.count() > 1);
        assert_eq!(few.id_of("task_struct", Kind::Struct), None);
        types(&whole).unwrap();
    }
}
