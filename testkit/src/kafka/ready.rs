//! Is the broker ready? Asked by really connecting, and by looking at who it is that answers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use procfs::net::TcpState;
use procfs::process::{FDTarget, Process};

use super::config::Bound;

const LIMIT: Duration = Duration::from_secs(2);
const CORRELATION: [u8; 4] = *b"zctr";

/// Asks the broker, a process, on one listener: over PLAINTEXT by an ApiVersions request, which the request handlers must answer;
/// over SSL by a TCP connection only. Another broker may have taken the port and answer there.
pub(super) fn probe(bound: &Bound, pid: u32) -> io::Result<()> {
    let mut stream = connect(bound.port)?;
    if !bound.listener.tls {
        api_versions(&mut stream)?;
    }
    let error = || io::Error::new(io::ErrorKind::AddrInUse, "another process listens there");
    if listens(pid, bound.port)? { Ok(()) } else { Err(error()) }
}

/// Whether a process listens on a TCP port: whether a socket that does is among its descriptors.
fn listens(pid: u32, port: u16) -> io::Result<bool> {
    let process = i32::try_from(pid).map_err(io::Error::other)?;
    let process = Process::new(process).map_err(io::Error::other)?;
    // A kernel without IPv6 has one table.
    let sockets = process.tcp().map_err(io::Error::other)?.into_iter().chain(process.tcp6().unwrap_or_default());
    let listening: Vec<u64> = sockets
        .filter(|socket| socket.state == TcpState::Listen && socket.local_address.port() == port)
        .map(|socket| socket.inode)
        .collect();
    let mut descriptors = process.fd().map_err(io::Error::other)?;
    // One that was closed meanwhile is none.
    Ok(descriptors
        .any(|it| it.is_ok_and(|it| matches!(it.target, FDTarget::Socket(inode) if listening.contains(&inode)))))
}

/// Connects to a port of the loopback interface.
pub(super) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    Ok(stream)
}

/// ApiVersions version 0 (org.apache.kafka.common.requests.ApiVersionsRequest), the one request that every version of
/// Kafka answers.
fn api_versions(stream: &mut (impl io::Read + io::Write)) -> io::Result<()> {
    let mut request = Vec::new();
    request.extend(10_u32.to_be_bytes()); // size of what follows
    request.extend(18_u16.to_be_bytes()); // ApiVersions
    request.extend(0_u16.to_be_bytes()); // version 0
    request.extend(CORRELATION);
    request.extend((-1_i16).to_be_bytes()); // no client id
    stream.write_all(&request)?;
    let mut answer = [0; 10]; // size, correlation, error
    stream.read_exact(&mut answer)?;
    if answer[4..8] == CORRELATION && answer[8..10] == [0, 0] {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::InvalidData, "the answer to ApiVersions is not one of Kafka's"))
    }
}

/// As many ports as asked for that nobody uses now on 127.0.0.1, all different.
pub(super) fn free_ports(count: usize) -> io::Result<Vec<u16>> {
    // All are held until the last is found, so that none comes twice.
    let held = (0..count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|listener| Ok(listener.local_addr()?.port())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// Reads from `answer`, forgets what is written.
    struct Peer<'a>(&'a [u8]);

    impl io::Read for Peer<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0.read(buffer)
        }
    }

    impl io::Write for Peer<'_> {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            Ok(buffer.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn only_an_answer_of_kafka_counts() {
        assert!(api_versions(&mut Peer(b"\0\0\x01\x0azctr\0\0more")).is_ok());
        assert!(api_versions(&mut Peer(b"\0\0\x01\x0azctr\0\x23more")).is_err(), "an error code");
        assert!(api_versions(&mut Peer(b"HTTP/1.1 400 Bad Request")).is_err());
        assert!(api_versions(&mut Peer(b"")).is_err(), "closed");
    }

    #[test]
    fn who_listens_is_told() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (me, parent) = (std::process::id(), std::os::unix::process::parent_id());
        assert!(listens(me, port).unwrap());
        assert!(!listens(parent, port).unwrap(), "its parent does not");
        drop(listener);
        assert!(!listens(me, port).unwrap());
    }

    #[test]
    fn free_ports_are_different() {
        let mut ports = free_ports(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }
}
