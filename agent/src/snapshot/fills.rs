//! Pages that came into the page cache, by file: few, where nearly everything that is read is in memory.

use std::collections::BTreeMap;

use agent_ebpf::{Fill, FillWay, InodeKey};
use serde::{Deserialize, Serialize};

/// Pages that came into the page cache.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fills {
    /// While files were read, each kind once, in the order of their keys.
    pub files: Vec<FileFill>,
    /// By accesses to memory that a file is mapped to.
    pub faults: Fill,
    /// By other calls, and of what is no regular file.
    pub others: Fill,
    /// While files were read that found their map full.
    pub overflow: Fill,
}

/// What came in of a file in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileFill {
    /// The file.
    pub inode: InodeKey,
    /// During which calls.
    pub way: FillWay,
    /// For whose sockets: a listener's port, or one of the contract's `PORT_*` values.
    pub port: u32,
    /// How much.
    pub fill: Fill,
}

/// What tells a kind apart.
type Key = (InodeKey, FillWay, u32);

impl FileFill {
    const fn key(&self) -> Key {
        (self.inode, self.way, self.port)
    }
}

impl Fills {
    /// What came in since. An entry of the kernel's table that was taken out meanwhile begins again at nothing.
    pub(super) fn since(&self, before: &Self) -> Self {
        let earlier: BTreeMap<Key, Fill> = before.files.iter().map(|of| (of.key(), of.fill)).collect();
        let since = |of: &FileFill| {
            let fill = minus(of.fill, earlier.get(&of.key()).copied().unwrap_or_default());
            FileFill { fill, ..*of }
        };
        Self {
            files: self.files.iter().map(since).filter(|of| of.fill != Fill::default()).collect(),
            faults: minus(self.faults, before.faults),
            others: minus(self.others, before.others),
            overflow: minus(self.overflow, before.overflow),
        }
    }

    /// Both together.
    pub(super) fn plus(&self, more: &Self) -> Self {
        Self {
            files: sum(self.files.iter().chain(&more.files).copied()),
            faults: plus(self.faults, more.faults),
            others: plus(self.others, more.others),
            overflow: plus(self.overflow, more.overflow),
        }
    }

    /// The same without what is known of files.
    pub(super) const fn without_files(&self) -> Self {
        Self { files: Vec::new(), faults: self.faults, others: self.others, overflow: self.overflow }
    }

    /// The same with other names for the files: those that get one name are one.
    pub(crate) fn renamed(&self, name: impl Fn(InodeKey) -> InodeKey) -> Self {
        let files = self.files.iter().map(|of| FileFill { inode: name(of.inode), ..*of });
        Self { files: sum(files), ..self.clone() }
    }
}

/// Adds up what is of one kind.
pub(crate) fn sum(fills: impl Iterator<Item = FileFill>) -> Vec<FileFill> {
    let mut sums: BTreeMap<Key, FileFill> = BTreeMap::new();
    for of in fills {
        sums.entry(of.key()).and_modify(|sum| sum.fill = plus(sum.fill, of.fill)).or_insert(of);
    }
    sums.into_values().collect()
}

fn minus(now: Fill, before: Fill) -> Fill {
    Fill { asked: now.asked.saturating_sub(before.asked), ahead: now.ahead.saturating_sub(before.ahead) }
}

pub(crate) fn plus(one: Fill, more: Fill) -> Fill {
    Fill { asked: one.asked + more.asked, ahead: one.ahead + more.ahead }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fills(amounts: &[(u64, u8, u32, u64, u64)]) -> Fills {
        let ways = [FillWay::ZeroCopy, FillWay::Copied, FillWay::Carried];
        let of = |(inode, way, port, asked, ahead): &(u64, u8, u32, u64, u64)| FileFill {
            inode: InodeKey { inode: *inode, ..InodeKey::default() },
            way: ways[usize::from(*way) % ways.len()],
            port: *port,
            fill: Fill { asked: *asked, ahead: *ahead },
        };
        Fills { files: sum(amounts.iter().map(of)), ..Fills::default() }
    }

    fn total(fills: &Fills) -> Fill {
        fills.files.iter().fold(Fill::default(), |sum, of| plus(sum, of.fill))
    }

    proptest! {
        #[test]
        fn a_sum_and_its_difference_give_each_part_back(
            one in prop::collection::vec((0u64..4, 0u8..3, 0u32..3, 1u64..1000, 0u64..1000), 0..10),
            two in prop::collection::vec((0u64..4, 0u8..3, 0u32..3, 1u64..1000, 0u64..1000), 0..10),
        ) {
            let (one, two) = (fills(&one), fills(&two));
            let both = one.plus(&two);
            prop_assert_eq!(both.since(&one), two.clone());
            prop_assert_eq!(both.since(&two), one.clone());
            prop_assert_eq!(total(&both), plus(total(&one), total(&two)));
            prop_assert_eq!(total(&both.renamed(|_| InodeKey::default())), total(&both));
        }
    }
}
