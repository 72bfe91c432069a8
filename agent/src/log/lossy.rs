//! A writer that never fails: it counts what could not be written, and says how much that was as soon as it can.

use std::{
    io::{self, Write},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use tracing_appender::non_blocking::ErrorCounter;

use crate::cli::LogFormat;

/// Lines that were lost.
#[derive(Clone, Debug, Default)]
pub struct Lost {
    unwritten: Arc<AtomicU64>,
    /// Those for which there was no room in the queue.
    queue: Arc<OnceLock<ErrorCounter>>,
}

impl Lost {
    /// How many until now.
    #[must_use]
    pub fn lines(&self) -> u64 {
        let queue = self.queue.get().map_or(0, ErrorCounter::dropped_lines);
        self.unwritten.load(Ordering::Relaxed).saturating_add(u64::try_from(queue).unwrap_or(u64::MAX))
    }

    pub(super) fn counts_too(&self, queue: ErrorCounter) {
        // There is one queue.
        let _ = self.queue.set(queue);
    }
}

/// Writes lines, one by one. It never logs by itself: it would wait for itself.
pub(super) struct Writer<W> {
    out: W,
    lost: Lost,
    format: LogFormat,
    /// Lost lines that were told.
    told: u64,
}

impl<W: Write> Writer<W> {
    pub(super) const fn new(out: W, lost: Lost, format: LogFormat) -> Self {
        Self { out, lost, format, told: 0 }
    }

    fn tell(&mut self) -> io::Result<()> {
        let lines = self.lost.lines();
        let more = lines.saturating_sub(self.told);
        if more > 0 {
            let now = humantime::format_rfc3339_micros(SystemTime::now());
            match self.format {
                LogFormat::Text => writeln!(self.out, "{now}  WARN zctrace::log: log lines were lost lines={more}")?,
                LogFormat::Json => writeln!(
                    self.out,
                    r#"{{"timestamp":"{now}","level":"WARN","message":"log lines were lost","lines":{more},"target":"zctrace::log"}}"#
                )?,
            }
            self.told = lines;
        }
        Ok(())
    }
}

impl<W: Write> Write for Writer<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.tell().and_then(|()| self.out.write_all(line)).is_err() {
            self.lost.unwritten.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // stderr has no buffer.
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A disk that is full for a while.
    #[derive(Default)]
    struct Disk {
        is_full: bool,
        text: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.is_full {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.text.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_was_lost_is_counted_and_told_once_there_is_room() {
        for (format, told) in [(LogFormat::Text, "lost lines=2"), (LogFormat::Json, r#"lost","lines":2,"#)] {
            let lost = Lost::default();
            let mut writer = Writer::new(Disk::default(), lost.clone(), format);
            writer.write_all(b"one\n").unwrap();
            writer.out.is_full = true;
            writer.write_all(b"two\n").unwrap();
            writer.write_all(b"three\n").unwrap();
            assert_eq!(lost.lines(), 2);
            writer.out.is_full = false;
            writer.write_all(b"four\n").unwrap();
            writer.write_all(b"five\n").unwrap();
            let text = String::from_utf8(writer.out.text).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert_eq!((lines[0], lines[2], lines[3], lines.len()), ("one", "four", "five", 4), "{text}");
            assert!(lines[1].contains(told), "{text}");
            if format == LogFormat::Json {
                let line: serde_json::Value = serde_json::from_str(lines[1]).unwrap();
                assert_eq!(line["level"], "WARN");
            }
        }
    }
}
