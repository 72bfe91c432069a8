//! The `zctrace` command: parses and dispatches.
fn main() {}
