//! `/proc/PID/stat`, and the same of a thread.

use std::path::Path;

use super::Time;

/// Processor time in a `stat` file; `None` where it can't be read: its thread has ended.
pub(super) fn read(path: &Path) -> Option<Time> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// `utime` and `stime`, fields 14 and 15 (proc_pid_stat(5)). The name, field 2, may hold anything, brackets too.
fn parse(stat: &str) -> Option<Time> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ').skip(11);
    Some(Time { user: fields.next()?.parse().ok()?, kernel: fields.next()?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let stat = "12 (a) R (b) 1) S 1 12 12 0 -1 4194304 1 0 0 0 345 67 0 0 20 0 9 0 100 1 1";
        assert_eq!(parse(stat), Some(Time { user: 345, kernel: 67 }));
        assert_eq!(parse("12 (cut) S 1"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn this_process_has_used_time_that_can_be_read() {
        assert!(read(Path::new("/proc/self/stat")).is_some());
        assert_eq!(read(Path::new("/proc/self/no-such-file")), None);
    }
}
