//! Clients by their remote addresses: what is counted is what each of them sent and received. The target is this test's own
//! process.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream},
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
    thread,
};

use support::{alone, assert_nothing_left};
use zctrace::{
    probe::{Capacity, LegChoice, Parts, Probe},
    report::{Attach, EndedBy, Facts, Listener, OTHER, Window, build},
    snapshot::Snapshot,
};

/// Sent to every client from memory, and what it asks with.
const HEADER: usize = 100;

/// A connection to `to` from an address of this host.
fn connect(from: IpAddr, to: SocketAddr) -> TcpStream {
    let (family, from) = if from.is_ipv4() { (libc::AF_INET, from) } else { (libc::AF_INET6, from) };
    // SAFETY: plain numbers; the descriptor is new and nobody else's.
    let socket = unsafe {
        let socket = libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0);
        assert!(socket >= 0);
        OwnedFd::from_raw_fd(socket)
    };
    with_address(SocketAddr::new(from, 0), |address, length| {
        // SAFETY: an open descriptor, and an address as long as is said.
        assert_eq!(unsafe { libc::bind(socket.as_raw_fd(), address, length) }, 0, "{from}");
    });
    with_address(to, |address, length| {
        // SAFETY: as above.
        assert_eq!(unsafe { libc::connect(socket.as_raw_fd(), address, length) }, 0, "{from} to {to}");
    });
    socket.into()
}

fn with_address(address: SocketAddr, visit: impl FnOnce(*const libc::sockaddr, libc::socklen_t)) {
    // SAFETY: all zero is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let place = &raw mut storage;
    let length = match address {
        SocketAddr::V4(address) => {
            let inet = libc::sockaddr_in {
                sin_family: libc::AF_INET.try_into().unwrap(),
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: there is room for any address.
            unsafe { place.cast::<libc::sockaddr_in>().write(inet) };
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(address) => {
            let inet = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6.try_into().unwrap(),
                sin6_port: address.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: 0,
            };
            // SAFETY: as above.
            unsafe { place.cast::<libc::sockaddr_in6>().write(inet) };
            size_of::<libc::sockaddr_in6>()
        }
    };
    visit(place.cast(), length.try_into().unwrap());
}

/// Answers each of so many connections with a header from memory and as much of the file by sendfile as the question says.
fn serve(listener: &TcpListener, file: &File, connections: usize) {
    for stream in listener.incoming().take(connections) {
        let mut stream = stream.unwrap();
        let mut question = [0; HEADER];
        stream.read_exact(&mut question).unwrap();
        let mut wanted = usize::from_le_bytes(question[..8].try_into().unwrap());
        stream.write_all(&[7; HEADER]).unwrap();
        let mut offset = 0;
        while wanted > 0 {
            // SAFETY: open descriptors; the offset is this function's.
            let sent = unsafe { libc::sendfile(stream.as_raw_fd(), file.as_raw_fd(), &raw mut offset, wanted) };
            wanted -= usize::try_from(sent).unwrap();
        }
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(stream.read(&mut question).unwrap(), 0);
    }
}

/// Bytes that a client got.
fn ask(mut stream: TcpStream, wanted: usize) -> u64 {
    let mut question = [0; HEADER];
    question[..8].copy_from_slice(&wanted.to_le_bytes());
    stream.write_all(&question).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap().try_into().unwrap()
}

/// Serves these clients, each of which wants so much, on `address`: its listener as it was counted with room for so many.
fn watched(leg: LegChoice, room: u32, address: &str, clients: &[(&str, &str, usize)]) -> Listener {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&vec![1; 1 << 20]).unwrap();
    let parts = Parts { clients: Some(room), ..Parts::default() };
    let mut probe = Probe::attach_with(leg, Capacity::default(), parts).unwrap();
    assert_eq!(probe.missing(), [""; 0]);
    let listener = TcpListener::bind(address).unwrap();
    let port = listener.local_addr().unwrap().port();
    let slot = probe.watch(std::process::id(), || BTreeSet::from([port])).unwrap();
    let mut got = BTreeMap::new();
    thread::scope(|scope| {
        scope.spawn(|| serve(&listener, &file, clients.len()));
        for (from, to, wanted) in clients {
            let to = SocketAddr::new(to.parse().unwrap(), port);
            *got.entry(*from).or_insert(0) += ask(connect(from.parse().unwrap(), to), *wanted);
        }
    });
    probe.stop(slot).unwrap();
    let snapshot = probe.snapshot(slot).unwrap();
    let window = Window { start: String::new(), seconds: 1.0, ended_by: EndedBy::Signal };
    let report = build(&snapshot, &Facts::default(), window, Attach::default());
    let listener = report.listeners.into_iter().find(|listener| listener.port == Some(port)).unwrap();
    // What left is what came.
    assert_eq!(listener.egress.egress_bytes, got.values().sum::<u64>());
    let told = listener.clients.as_ref().unwrap();
    for client in told.iter().filter(|client| client.address != OTHER) {
        assert_eq!(client.egress_bytes(), got[client.address.as_str()], "{client:?}");
    }
    // Together they are the listener.
    let sum = |of: fn(&zctrace::report::ClientTraffic) -> u64| told.iter().map(of).sum::<u64>();
    assert_eq!(sum(|client| client.zero_copy_bytes), listener.egress.zero_copy_bytes);
    assert_eq!(sum(|client| client.copied_bytes), listener.egress.copied_bytes);
    assert_eq!(sum(|client| client.ingress_bytes), listener.ingress_bytes);
    probe.release(slot).unwrap();
    let slot = probe.watch(std::process::id(), || BTreeSet::from([port])).unwrap();
    let again = probe.snapshot(slot).unwrap();
    assert_eq!(again.clients.unwrap().iter().count(), 0, "nothing is left of it");
    listener
}

const LEGS: [LegChoice; 2] = [LegChoice::Raw, LegChoice::Tracepoint];

fn bytes(listener: &Listener) -> Vec<(&str, u64, u64, u64)> {
    let clients = listener.clients.as_deref().unwrap_or_default();
    clients.iter().map(|c| (c.address.as_str(), c.zero_copy_bytes, c.copied_bytes, c.ingress_bytes)).collect()
}

#[test]
fn each_client_has_what_it_sent_and_received() {
    let _alone = alone();
    for leg in LEGS {
        let here = "127.0.0.1";
        let clients = [("127.0.0.2", here, 70_000), ("127.0.0.3", here, 500_000), ("127.0.0.2", here, 1000)];
        let listener = watched(leg, 64, "0.0.0.0:0", &clients);
        assert_eq!(bytes(&listener), [("127.0.0.3", 500_000, 100, 100), ("127.0.0.2", 71_000, 200, 200)]);
    }
    assert_nothing_left();
}

/// A JVM listens on sockets of IPv6 for both.
#[test]
fn addresses_of_ipv4_are_told_as_such_on_a_socket_of_ipv6() {
    let _alone = alone();
    if TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6");
        return;
    }
    for leg in LEGS {
        let clients = [("127.0.0.2", "127.0.0.1", 70_000), ("::1", "::1", 500_000)];
        let listener = watched(leg, 64, "[::]:0", &clients);
        assert_eq!(bytes(&listener), [("::1", 500_000, 100, 100), ("127.0.0.2", 70_000, 100, 100)]);
    }
    assert_nothing_left();
}

#[test]
fn those_that_find_the_table_full_are_one() {
    let _alone = alone();
    let froms: Vec<String> = (2..22).map(|last| format!("127.0.0.{last}")).collect();
    let clients: Vec<_> = froms.iter().map(|from| (from.as_str(), "127.0.0.1", 10_000)).collect();
    let listener = watched(LegChoice::Raw, 4, "0.0.0.0:0", &clients);
    let told = bytes(&listener);
    // A hash table of the kernel may take a few more where it is spread over processors, never fewer.
    assert!(told.len() >= 5 && told.len() < 20, "{told:?}");
    let (last, apart) = told.split_last().unwrap();
    let rest = 20 - u64::try_from(apart.len()).unwrap();
    assert_eq!(*last, (OTHER, 10_000 * rest, 100 * rest, 100 * rest));
    assert_nothing_left();
}

#[test]
fn what_is_off_counts_nothing() {
    let _alone = alone();
    let mut probe = Probe::attach(LegChoice::Raw, Capacity::default()).unwrap();
    let slot = probe.watch(std::process::id(), BTreeSet::new).unwrap();
    let Snapshot { clients, durations, .. } = probe.snapshot(slot).unwrap();
    assert_eq!((clients, durations), (None, None));
}
