//! The counters that a HotSpot JVM keeps in a file: a header, then entries (`src/hotspot/share/runtime/perfMemory.hpp`,
//! version 2.0 of the format, the only one since JDK 1.5).

/// What is read of the heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Heap {
    pub(super) committed: Option<u64>,
    pub(super) used: Option<u64>,
    pub(super) collector: Option<String>,
}

/// `PerfDataPrologue.magic`, always big-endian.
const MAGIC: [u8; 4] = [0xca, 0xfe, 0xc0, 0xc0];
/// Types of entries, by their letter in the class-file format.
const LONG: u8 = b'J';
const BYTE: u8 = b'B';
/// No JVM has more: it has some 250.
const MOST_ENTRIES: u32 = 10_000;

/// Sums over the spaces of every generation: `sun.gc.generation.0.space.1.used`, all collectors have them.
pub(super) fn heap(bytes: &[u8]) -> Heap {
    let mut heap = Heap::default();
    let Some(file) = File::open(bytes) else { return heap };
    for (name, value) in file.entries() {
        let of_space = |what: &str| {
            let rest = name.strip_prefix("sun.gc.generation.").and_then(|rest| rest.strip_suffix(what));
            rest.is_some_and(|rest| rest.contains(".space."))
        };
        match value {
            Value::Long(bytes) if of_space(".used") => heap.used = Some(heap.used.unwrap_or(0).saturating_add(bytes)),
            Value::Long(bytes) if of_space(".capacity") => {
                heap.committed = Some(heap.committed.unwrap_or(0).saturating_add(bytes));
            }
            Value::Text(text) if name == "sun.gc.collector.0.name" => heap.collector = Some(text),
            _ => {}
        }
    }
    heap
}

#[derive(Debug, PartialEq, Eq)]
enum Value {
    Long(u64),
    Text(String),
    Other,
}

struct File<'a> {
    bytes: &'a [u8],
    little_endian: bool,
}

impl<'a> File<'a> {
    fn open(bytes: &'a [u8]) -> Option<Self> {
        let is_2 = bytes.get(5) == Some(&2);
        // Not accessible: the JVM has not written it to its end yet.
        let accessible = bytes.get(7) == Some(&1);
        (bytes.starts_with(&MAGIC) && is_2 && accessible).then(|| Self { bytes, little_endian: bytes[4] == 1 })
    }

    fn u32(&self, at: usize) -> Option<u32> {
        let bytes: [u8; 4] = self.bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if self.little_endian { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) })
    }

    fn u64(&self, at: usize) -> Option<u64> {
        let bytes: [u8; 8] = self.bytes.get(at..at.checked_add(8)?)?.try_into().ok()?;
        Some(if self.little_endian { u64::from_le_bytes(bytes) } else { u64::from_be_bytes(bytes) })
    }

    fn offset(&self, at: usize) -> Option<usize> {
        usize::try_from(self.u32(at)?).ok()
    }

    fn text(&self, at: usize, most: usize) -> String {
        let rest = self.bytes.get(at..).unwrap_or_default();
        let text = &rest[..rest.len().min(most)];
        let end = text.iter().position(|byte| *byte == 0).unwrap_or(text.len());
        String::from_utf8_lossy(&text[..end]).into_owned()
    }

    fn entries(&self) -> Vec<(String, Value)> {
        let mut entries = Vec::new();
        let (Some(mut at), Some(count)) = (self.offset(24), self.u32(28)) else { return entries };
        for _ in 0..count.min(MOST_ENTRIES) {
            let Some((length, entry)) = self.entry(at) else { break };
            entries.push(entry);
            let Some(next) = at.checked_add(length) else { break };
            at = next;
        }
        entries
    }

    fn entry(&self, at: usize) -> Option<(usize, (String, Value))> {
        let length = self.offset(at)?;
        if length < 20 {
            return None;
        }
        let name = self.text(at.checked_add(self.offset(at + 4)?)?, length);
        let elements = self.offset(at + 8)?;
        let kind = *self.bytes.get(at + 12)?;
        let data = at.checked_add(self.offset(at + 16)?)?;
        let value = match kind {
            LONG if elements == 0 => Value::Long(self.u64(data)?),
            BYTE if elements > 0 => Value::Text(self.text(data, elements)),
            _ => Value::Other,
        };
        Some((length, (name, value)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A file as a JVM writes it.
    pub(in super::super) fn file(longs: &[(&str, u64)], texts: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[1, 2, 0, 1], &[0; 16]].concat();
        let count = u32::try_from(longs.len() + texts.len()).unwrap_or(0);
        bytes.extend([32u32.to_le_bytes(), count.to_le_bytes()].concat());
        let mut entry = |name: &str, elements: usize, kind: u8, data: &[u8]| {
            let word = |number: usize| u32::try_from(number).unwrap_or(0).to_le_bytes();
            let at = (20 + name.len() + 1).next_multiple_of(8);
            let length = (at + data.len()).next_multiple_of(8);
            let start = bytes.len();
            bytes.extend([word(length), word(20), word(elements), [kind, 0, 1, 1], word(at)].concat());
            bytes.extend(name.bytes());
            bytes.resize(start + at, 0);
            bytes.extend(data);
            bytes.resize(start + length, 0);
        };
        for (name, value) in longs {
            entry(name, 0, LONG, &value.to_le_bytes());
        }
        for (name, value) in texts {
            entry(name, value.len(), BYTE, value.as_bytes());
        }
        bytes
    }

    #[test]
    fn the_heap_is_the_sum_of_its_spaces() {
        let longs = [
            ("sun.gc.generation.0.space.0.used", 100),
            ("sun.gc.generation.0.space.0.capacity", 1000),
            ("sun.gc.generation.0.space.0.maxCapacity", 9999),
            ("sun.gc.generation.1.space.0.used", 23),
            ("sun.gc.generation.1.space.0.capacity", 500),
            ("sun.gc.metaspace.used", 7),
        ];
        let bytes = file(&longs, &[("sun.gc.collector.0.name", "G1 young collection pauses")]);
        let collector = Some("G1 young collection pauses".to_owned());
        assert_eq!(heap(&bytes), Heap { committed: Some(1500), used: Some(123), collector });
        assert_eq!(heap(b"\xca\xfe\xc0\xc0"), Heap::default());
        assert_eq!(heap(&[]), Heap::default());
        // Not written to its end yet.
        let mut unfinished = bytes;
        unfinished[7] = 0;
        assert_eq!(heap(&unfinished), Heap::default());
    }

    proptest! {
        #[test]
        fn no_file_panics(at in 0usize..200, noise in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut bytes = file(&[("sun.gc.generation.0.space.0.used", 1)], &[("sun.gc.collector.0.name", "x")]);
            for (place, byte) in bytes.iter_mut().skip(at).zip(noise) {
                *place = byte;
            }
            let _ = heap(&bytes);
        }
    }
}
