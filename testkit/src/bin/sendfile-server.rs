//! The built-in server: `sendfile-server BYTES`. It says its ports on standard output and ends when its standard input
//! is closed. See `testkit::sendfile_server`.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(bytes) = std::env::args().nth(1).and_then(|text| text.parse().ok()) else {
        eprintln!("usage: sendfile-server BYTES");
        return ExitCode::from(2);
    };
    match testkit::sendfile_server::serve(bytes, io::stdin(), io::stdout()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sendfile-server: {error}");
            ExitCode::FAILURE
        }
    }
}
