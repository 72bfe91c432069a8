//! What looks like a broker to zctrace, for the benchmarks. See `testkit::crowd`.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = testkit::crowd::Crowd::parse(&arguments)
        .and_then(|crowd| testkit::crowd::serve(&crowd, io::stdin().lock(), io::stdout()));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("broker-like: {error}");
            ExitCode::FAILURE
        }
    }
}
