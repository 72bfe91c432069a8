//! What a process's network namespace listens on.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use super::TargetError;

/// State of a listening socket in `/proc/net/tcp` (`include/net/tcp_states.h`, `TCP_LISTEN`).
const LISTEN: &str = "0A";

/// Local ports of all listening TCP sockets of the process's network namespace. Not only its own: it may have taken
/// over connections that another process accepted.
///
/// The kernel lists listening sockets first (`net/ipv4/tcp_ipv4.c`, `tcp_get_idx`), so this stops at the first other
/// one, however many connections there are.
///
/// # Errors
/// [`TargetError::NoProcess`] or [`TargetError::NotPermitted`] if the lists can't be read.
pub fn listening_ports(proc: &Path, pid: u32) -> Result<BTreeSet<u16>, TargetError> {
    let net = proc.join(pid.to_string()).join("net");
    let mut ports = read(&net.join("tcp")).map_err(|error| TargetError::from_io(pid, &error))?;
    // A kernel without IPv6 has no tcp6.
    ports.extend(read(&net.join("tcp6")).unwrap_or_default());
    Ok(ports)
}

fn read(list: &Path) -> std::io::Result<BTreeSet<u16>> {
    let mut ports = BTreeSet::new();
    for line in BufReader::new(File::open(list)?).lines().skip(1) {
        match listening_port(&line?) {
            Some(port) => ports.insert(port),
            None => break,
        };
    }
    Ok(ports)
}

/// `  0: 0100007F:2384 00000000:0000 0A ...`: slot, local address and port in hexadecimal, remote ones, state.
fn listening_port(line: &str) -> Option<u16> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    let (_, port) = local.rsplit_once(':')?;
    if state == LISTEN { u16::from_str_radix(port, 16).ok() } else { None }
}
