//! The process whose calls are timed: `bench-worker CPU FILES CONNECTIONS DIRECTORY`, orders on standard input, times
//! on standard output, ends when its standard input is closed. See `testkit::worker`.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = testkit::worker::Place::parse(&arguments)
        .and_then(|place| testkit::worker::serve(&place, io::stdin().lock(), io::stdout()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-worker: {error}");
            ExitCode::FAILURE
        }
    }
}
