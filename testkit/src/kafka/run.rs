//! Running a program to its end, with its last words in the error.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::KafkaError;
use crate::process::Guarded;

/// Lines of a program's output that an error shows.
const TAIL_LINES: usize = 30;
/// A program that has closed its standard output ends within this time.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Runs the command to its end and returns its standard output; `on_line` sees each line as it comes.
pub(super) fn run(what: &str, mut command: Command, on_line: &dyn Fn(&str)) -> Result<String, KafkaError> {
    let failed = || KafkaError::io(format!("{what}: cannot run {}", command_name(&command)));
    // A file takes any amount, so the program cannot block on a full pipe that nobody reads.
    let mut errors = tempfile::tempfile().map_err(KafkaError::io(format!("{what}: cannot make a temporary file")))?;
    let for_child = errors.try_clone().map_err(failed())?;
    let unable = failed();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(for_child);
    let mut child = Guarded::spawn(command).map_err(unable)?;
    let mut output = String::new();
    let reading = || KafkaError::io(format!("{what}: cannot read its output"));
    if let Some(stdout) = child.child().stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(reading())?;
            on_line(&line);
            output.push_str(&line);
            output.push('\n');
        }
    }
    let status = child.wait_for(END_LIMIT).map_err(reading())?;
    if status.is_some_and(|status| status.success()) {
        return Ok(output);
    }
    let mut said = String::new();
    errors.rewind().map_err(reading())?;
    // What is not UTF-8 is no reason to hide the rest.
    let mut bytes = Vec::new();
    errors.read_to_end(&mut bytes).map_err(reading())?;
    said.push_str(&output);
    said.push_str(&String::from_utf8_lossy(&bytes));
    let status = status.map_or_else(|| "did not end".to_owned(), |status| status.to_string());
    Err(KafkaError::Failed { what: what.to_owned(), status, tail: tail(said.lines().map(str::to_owned)) })
}

fn command_name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}

/// The last lines of a log; says so where there is none.
pub(super) fn tail_of(path: &Path) -> String {
    match File::open(path) {
        Ok(file) => tail(
            BufReader::new(file)
                .split(b'\n')
                .map_while(Result::ok)
                .map(|line| String::from_utf8_lossy(&line).into_owned()),
        ),
        Err(error) => format!("  (no log at {}: {error})", path.display()),
    }
}

fn tail(lines: impl Iterator<Item = String>) -> String {
    let mut last = VecDeque::with_capacity(TAIL_LINES);
    for line in lines.filter(|line| !line.trim().is_empty()) {
        if last.len() == TAIL_LINES {
            last.pop_front();
        }
        last.push_back(format!("  {line}"));
    }
    if last.is_empty() { "  (it wrote nothing)".to_owned() } else { Vec::from(last).join("\n") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::cell::RefCell;

    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_is_returned_and_seen_line_by_line() {
        let seen = RefCell::new(Vec::new());
        let output = run("greeting", shell("echo one; echo two"), &|line| seen.borrow_mut().push(line.to_owned()));
        assert_eq!(output.unwrap(), "one\ntwo\n");
        assert_eq!(seen.into_inner(), ["one", "two"]);
    }

    #[test]
    fn a_failure_shows_the_last_words_of_both_outputs() {
        let script = "i=0; while [ $i -lt 50 ]; do echo out$i; i=$((i+1)); done; echo reason >&2; exit 3";
        let error = run("counting", shell(script), &|_| ()).unwrap_err().to_string();
        assert!(error.starts_with("counting failed (exit status: 3)"), "{error}");
        assert!(error.ends_with("out49\n  reason"), "{error}");
        assert!(!error.contains("out20\n"), "{error}");
    }

    #[test]
    fn much_on_standard_error_does_not_block() {
        let output = run("noise", shell("yes | head -c 1000000 >&2; echo done"), &|_| ());
        assert_eq!(output.unwrap(), "done\n");
    }
}
