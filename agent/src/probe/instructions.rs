//! The instructions in an object, which the agent changes before load.

use std::ops::Range;

use object::{Object as _, ObjectSection as _, SectionKind};

/// An object, and where in it instructions lie: what else is in it may look like one.
#[derive(Clone)]
pub(super) struct Instructions {
    object: Vec<u8>,
    sections: Vec<Range<usize>>,
}

impl Instructions {
    /// Those of an object; none of one that can't be read, which its loader then tells.
    pub(super) fn of(object: &[u8]) -> Self {
        Self { object: object.to_vec(), sections: sections(object).unwrap_or_default() }
    }

    /// Each of them.
    pub(super) fn each(&mut self) -> impl Iterator<Item = &mut [u8; 8]> {
        let (mut rest, mut behind) = (self.object.as_mut_slice(), 0);
        self.sections.iter().flat_map(move |section| {
            let bytes = std::mem::take(&mut rest).split_at_mut(section.start - behind).1;
            let (section_bytes, after) = bytes.split_at_mut(section.len());
            (rest, behind) = (after, section.end);
            section_bytes.as_chunks_mut::<8>().0
        })
    }

    /// The object as it is now.
    pub(super) fn object(&self) -> &[u8] {
        &self.object
    }
}

/// In their order in the file, none of which overlap or lead behind its end.
fn sections(object: &[u8]) -> Option<Vec<Range<usize>>> {
    let file = object::File::parse(object).ok()?;
    let mut ranges = Vec::new();
    for section in file.sections().filter(|section| section.kind() == SectionKind::Text) {
        let (start, length) = section.file_range()?;
        ranges.push(usize::try_from(start).ok()?..usize::try_from(start.checked_add(length)?).ok()?);
    }
    ranges.sort_by_key(|range| range.start);
    let is_apart = ranges.is_sorted_by(|one, next| one.end <= next.start);
    let is_within = ranges.last().is_none_or(|last| last.end <= object.len());
    (is_apart && is_within).then_some(ranges)
}
