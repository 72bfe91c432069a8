//! A kernel's type information (BTF, Documentation/bpf/btf.rst), read where it lies.
//!
//! Only the few dozen types that the program needs are ever looked at. A parser that makes objects of all hundred thousand
//! takes 0.2 s and 60 MB, most of the time and memory that attaching takes; this one takes a few milliseconds.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use memchr::memmem;

use super::mapped::Bytes;

pub(super) const MAGIC: u16 = 0xeb9f;
const HEADER: usize = 24;
/// `struct btf_type`.
const TYPE: usize = 12;
/// `struct btf_member`.
const MEMBER: usize = 12;
/// `struct btf_enum`.
const ENUMERATOR: usize = 8;
/// How deep types may be nested: a guard against a circle in what is no kernel's BTF.
const DEEPEST: u32 = 16;

/// Kinds of types that are looked for (include/uapi/linux/btf.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Struct,
    Enum,
    Typedef,
    Func,
}

impl Kind {
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Struct => STRUCT,
            Self::Enum => ENUM,
            Self::Typedef => TYPEDEF,
            Self::Func => FUNC,
        }
    }
}

const INT: u8 = 1;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

/// The types of a kernel.
pub(super) struct Btf {
    bytes: Bytes,
    /// Where in `bytes` each type begins; the first one has the number 1.
    types: Vec<usize>,
    /// The word for each type's name, side by side: to look for one among a hundred thousand.
    names: Vec<u32>,
    strings: std::ops::Range<usize>,
    /// What was looked for.
    known: Mutex<HashMap<(String, Kind), Option<u32>>>,
}

/// A type, taken apart.
#[derive(Clone, Copy)]
struct Type {
    at: usize,
    kind: u8,
    members: usize,
    /// Offsets of members hold the size of bit fields, too.
    kind_flag: bool,
    size_or_type: u32,
}

impl Btf {
    /// Finds where each type is. The error says what is wrong.
    pub(super) fn parse(bytes: impl Into<Bytes>) -> Result<Self, &'static str> {
        let mut btf =
            Self { bytes: bytes.into(), types: Vec::new(), names: Vec::new(), strings: 0..0, known: Mutex::default() };
        let word = |at| btf.word(at).ok_or("it is too short for a header");
        if btf.bytes.get(..2) != Some(&MAGIC.to_le_bytes()) {
            return Err("it does not begin as type information does");
        }
        let lies = |from: u32, length: u32| -> Option<std::ops::Range<usize>> {
            let from = usize::try_from(word(4).ok()?).ok()?.checked_add(usize::try_from(from).ok()?)?;
            let range = from..from.checked_add(usize::try_from(length).ok()?)?;
            (range.start >= HEADER && range.end <= btf.bytes.len()).then_some(range)
        };
        let types = lies(word(8)?, word(12)?).ok_or("it ends before its types do")?;
        let strings = lies(word(16)?, word(20)?).ok_or("it ends before its strings do")?;
        let mut starts = Vec::with_capacity(types.len() / 30);
        let mut names = Vec::with_capacity(types.len() / 30);
        let mut at = types.start;
        while at < types.end {
            let this = btf.type_at(at).ok_or("a type is cut off")?;
            starts.push(at);
            names.push(btf.word(at).ok_or("a type is cut off")?);
            at += TYPE + this.rest().ok_or("it has a kind of type that zctrace does not know")?;
        }
        (btf.types, btf.names, btf.strings) = (starts, names, strings);
        Ok(btf)
    }

    fn word(&self, at: usize) -> Option<u32> {
        let bytes = self.bytes.get(at..at.checked_add(4)?)?;
        bytes.try_into().ok().map(u32::from_le_bytes)
    }

    fn type_at(&self, at: usize) -> Option<Type> {
        let info = self.word(at + 4)?;
        Some(Type {
            at,
            kind: u8::try_from(info >> 24 & 0x1f).ok()?,
            members: usize::try_from(info & 0xffff).ok()?,
            kind_flag: info >> 31 == 1,
            size_or_type: self.word(at + 8)?,
        })
    }

    fn get(&self, id: u32) -> Option<Type> {
        let index = usize::try_from(id).ok()?.checked_sub(1)?;
        self.type_at(*self.types.get(index)?)
    }

    /// The number of the type of this kind and name.
    pub(super) fn id(&self, name: &str, kind: Kind) -> Option<u32> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        *known.entry((name.to_owned(), kind)).or_insert_with(|| self.find(name, kind))
    }

    fn find(&self, name: &str, kind: Kind) -> Option<u32> {
        let strings = self.bytes.get(self.strings.clone())?;
        let text = [b"\0", name.as_bytes(), b"\0"].concat();
        // Each string is there once, for all the types of that name.
        let offset = u32::try_from(memmem::find(strings, &text)? + 1).ok()?;
        let named = self.names.iter().zip(1u32..).filter(|(name, _)| **name == offset);
        named.map(|(_, id)| id).find(|id| self.get(*id).is_some_and(|this| this.kind == kind.number()))
    }

    fn name(&self, offset: u32) -> Option<&[u8]> {
        let strings = self.bytes.get(self.strings.clone())?.get(usize::try_from(offset).ok()?..)?;
        strings.split(|byte| *byte == 0).next()
    }

    /// The number of a function's prototype.
    pub(super) fn prototype(&self, function: &str) -> Option<u32> {
        Some(self.get(self.id(function, Kind::Func)?)?.size_or_type)
    }

    /// Size of a structure, in bytes.
    pub(super) fn size(&self, structure: &str) -> Option<u32> {
        Some(self.get(self.id(structure, Kind::Struct)?)?.size_or_type)
    }

    /// Byte offset of a member, such as `__sk_common.skc_num`, in a structure. Members of nameless structures and unions
    /// are found as the C language finds them. `None` too for a bit field.
    pub(super) fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut this = self.get(self.id(structure, Kind::Struct)?)?;
        let mut bits = 0;
        for name in path.split('.') {
            let (offset, id) = self.member(this, name, DEEPEST)?;
            bits += offset;
            this = self.without_modifiers(id)?;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// The value of a constant of an enumeration.
    pub(super) fn enumerator(&self, enumeration: &str, name: &str) -> Option<u32> {
        let this = self.get(self.id(enumeration, Kind::Enum)?)?;
        (0..this.members).map(|index| this.at + TYPE + index * ENUMERATOR).find_map(|at| {
            let is_it = self.name(self.word(at)?) == Some(name.as_bytes());
            is_it.then(|| self.word(at + 4)).flatten()
        })
    }

    /// Offset in bits and type of a member.
    fn member(&self, structure: Type, name: &str, deepest: u32) -> Option<(u32, u32)> {
        if !matches!(structure.kind, STRUCT | UNION) || deepest == 0 {
            return None;
        }
        (0..structure.members).find_map(|index| {
            let at = structure.at + TYPE + index * MEMBER;
            let (its_name, id, offset) = (self.word(at)?, self.word(at + 4)?, self.word(at + 8)?);
            let (offset, bit_field) =
                if structure.kind_flag { (offset & 0xff_ffff, offset >> 24) } else { (offset, 0) };
            if its_name == 0 {
                let (inner, id) = self.member(self.without_modifiers(id)?, name, deepest - 1)?;
                return Some((offset + inner, id));
            }
            (bit_field == 0 && self.name(its_name) == Some(name.as_bytes())).then_some((offset, id))
        })
    }

    fn without_modifiers(&self, mut id: u32) -> Option<Type> {
        for _ in 0..DEEPEST {
            let this = self.get(id)?;
            if !matches!(this.kind, TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
                return Some(this);
            }
            id = this.size_or_type;
        }
        None
    }
}

impl Type {
    /// Bytes that follow the common part.
    const fn rest(&self) -> Option<usize> {
        Some(match self.kind {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            STRUCT | UNION | DATASEC | ENUM64 => self.members * 12,
            ENUM => self.members * ENUMERATOR,
            FUNC_PROTO => self.members * 8,
            1..=TYPE_TAG => 0,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `struct outer { int plain; struct { int inner; }; const struct other field; int bits : 3; }` and what it takes.
    fn sample() -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut name = |text: &str| {
            let at = u32::try_from(strings.len()).unwrap();
            strings.extend(text.bytes().chain([0]));
            at
        };
        let names = ["int", "outer", "plain", "inner", "other", "field", "deep", "bits"].map(&mut name);
        let [int, outer, plain, inner, other, field, deep, bits] = names;
        let info = |kind: u8, members: u32, flag: u32| u32::from(kind) << 24 | members | flag << 31;
        #[rustfmt::skip]
        let types: Vec<u32> = vec![
            int, info(INT, 0, 0), 4, 32,                                  // 1
            0, info(STRUCT, 1, 0), 4, inner, 1, 0,                        // 2
            other, info(STRUCT, 1, 0), 4, deep, 1, 0,                     // 3
            0, info(CONST, 0, 0), 3,                                      // 4
            outer, info(STRUCT, 4, 1), 16,                                // 5
                plain, 1, 0,   0, 2, 32,   field, 4, 64,   bits, 1, 96 | 3 << 24,
            outer, info(FUNC, 0, 0), 1,                                   // 6: a function of the same name
        ];
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_le_bytes).collect();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let mut bytes = [0x9f, 0xeb, 1, 0].to_vec();
        for word in [24, 0, length(&types), length(&types), length(&strings)] {
            bytes.extend(u32::to_le_bytes(word));
        }
        [bytes, types, strings].concat()
    }

    #[test]
    fn members_are_found_through_nameless_and_qualified_types() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.offset("outer", "plain"), Some(0));
        assert_eq!(btf.offset("outer", "inner"), Some(4));
        assert_eq!(btf.offset("outer", "field.deep"), Some(8));
        assert_eq!(btf.size("outer"), Some(16));
        for missing in ["bits", "nothing", "plain.deep", "field.nothing"] {
            assert_eq!(btf.offset("outer", missing), None, "{missing}");
        }
    }

    #[test]
    fn a_name_is_of_a_kind() {
        let btf = Btf::parse(sample()).unwrap();
        assert_eq!(btf.id("outer", Kind::Struct), Some(5));
        assert_eq!(btf.id("outer", Kind::Func), Some(6));
        assert_eq!(btf.id("outer", Kind::Typedef), None);
        assert_eq!(btf.id("oute", Kind::Struct), None);
    }

    #[test]
    fn what_is_cut_off_anywhere_is_refused_or_read_without_harm() {
        let whole = sample();
        for length in 0..whole.len() {
            assert!(Btf::parse(&whole[..length]).is_err(), "{length}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            if let Ok(btf) = Btf::parse(bytes) {
                let _ = (btf.offset("outer", "inner"), btf.offset("outer", "field.deep"), btf.size("other"));
            }
        }
    }
}
