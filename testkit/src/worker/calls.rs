//! The calls themselves.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv, sockopt};
use rustix::time::{ClockId, clock_gettime};

use super::{BYTES, Call, Clock, Order, PAGE, Place};

/// Calls between two times at which the other ends of the connections are emptied, outside of the measured time.
const BURST: u32 = 64;
/// Bursts a second of calls at a rate.
const BURSTS: u32 = 1000;
/// Pages of the file, where there is only one.
const PAGES: usize = 64;
/// More than is ever on the way on one connection.
const ROOM: usize = 1 << 20;

/// What the calls are made on.
pub(super) struct Calls {
    files: Vec<File>,
    /// In each file.
    pages: usize,
    connections: Vec<Connection>,
    next: usize,
    buffer: Vec<u8>,
    /// Open as long as the connections, as a broker's is.
    _listener: TcpListener,
}

struct Connection {
    /// The accepted end, as a broker has it.
    ours: TcpStream,
    theirs: TcpStream,
}

impl Calls {
    pub(super) fn prepare(place: &Place) -> io::Result<Self> {
        let pages = if place.files == 1 { PAGES } else { 1 };
        let files = (0..place.files).map(|number| file(&place.dir, number, pages)).collect::<io::Result<_>>()?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let connections = (0..place.connections).map(|_| Connection::open(&listener)).collect::<io::Result<_>>()?;
        Ok(Self { files, pages, connections, next: 0, buffer: Vec::with_capacity(ROOM), _listener: listener })
    }

    /// Nanoseconds a call.
    pub(super) fn batch(&mut self, order: &Order) -> io::Result<f64> {
        let calls = order.calls.max(1);
        let taken = match order.rate {
            None => self.calls(order.call, calls, order.clock)?,
            Some(rate) => self.paced(order, calls, rate)?,
        };
        Ok(taken.as_secs_f64() * 1e9 / f64::from(calls))
    }

    /// In bursts, with sleep between them.
    fn paced(&mut self, order: &Order, calls: u32, rate: u32) -> io::Result<Duration> {
        let burst = (rate / BURSTS).max(1);
        let pause = Duration::from_secs(1) * burst / rate.max(1);
        let (mut taken, mut left) = (Duration::ZERO, calls);
        let mut next = Instant::now();
        while left > 0 {
            let now = left.min(burst);
            left -= now;
            taken += self.calls(order.call, now, order.clock)?;
            next += pause;
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        Ok(taken)
    }

    /// How long so many calls take.
    fn calls(&mut self, call: Call, calls: u32, clock: Clock) -> io::Result<Duration> {
        let taken = match call {
            Call::Other => timed(clock, || {
                let mut orphan = 0;
                for _ in 0..calls {
                    orphan += u32::from(rustix::process::getppid().is_none());
                }
                std::hint::black_box(orphan);
                Ok(())
            })?,
            Call::Read => {
                let mut block = [0; BYTES];
                let files = &self.files;
                let mut turn = files.iter().cycle().skip(self.next);
                self.next = (self.next + calls as usize) % files.len().max(1);
                timed(clock, || {
                    let mut moved = 0;
                    for file in turn.by_ref().take(calls as usize) {
                        moved += rustix::io::pread(file, &mut block, 0)?;
                    }
                    whole(moved, BYTES * calls as usize)
                })?
            }
            Call::Write | Call::Sendfile => self.bursts(call, calls, clock)?,
        };
        Ok(taken)
    }

    fn bursts(&mut self, call: Call, calls: u32, clock: Clock) -> io::Result<Duration> {
        let block = [0x5a; BYTES];
        let mut taken = Duration::ZERO;
        let mut left = calls;
        while left > 0 {
            let now = left.min(BURST);
            left -= now;
            let used: Vec<&Connection> = self.connections.iter().cycle().skip(self.next).take(now as usize).collect();
            let mut files = self.files.iter().cycle().skip(self.next);
            // From where the last one ended on, as a consumer's reads do.
            let mut page = self.next % self.pages;
            self.next += now as usize;
            taken += timed(clock, || {
                let mut moved = 0;
                for connection in &used {
                    if call == Call::Write {
                        moved += rustix::io::write(&connection.ours, &block)?;
                    } else if let Some(file) = files.next() {
                        let mut position = (page * PAGE) as u64;
                        moved += rustix::fs::sendfile(&connection.ours, file, Some(&mut position), PAGE)?;
                        page = if page + 1 < self.pages { page + 1 } else { 0 };
                    }
                }
                whole(moved, now as usize * if call == Call::Write { BYTES } else { PAGE })
            })?;
            for connection in used.iter().take(self.connections.len()) {
                connection.empty(&mut self.buffer)?;
            }
        }
        self.next %= self.connections.len().max(1) * self.files.len().max(1) * self.pages;
        Ok(taken)
    }
}

impl Connection {
    fn open(listener: &TcpListener) -> io::Result<Self> {
        let theirs = TcpStream::connect(listener.local_addr()?)?;
        let (ours, _) = listener.accept()?;
        // Full segments only: the network's own work would drown what is measured.
        sockopt::set_tcp_cork(&ours, true)?;
        sockopt::set_socket_send_buffer_size(&ours, ROOM)?;
        Ok(Self { ours, theirs })
    }

    /// Takes what has arrived.
    fn empty(&self, buffer: &mut Vec<u8>) -> io::Result<()> {
        loop {
            buffer.clear();
            match recv(&self.theirs, spare_capacity(buffer), RecvFlags::DONTWAIT) {
                Ok(_) if buffer.len() == buffer.capacity() => (),
                Ok(_) | Err(rustix::io::Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// How long it takes.
fn timed(clock: Clock, calls: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    let id = match clock {
        Clock::Thread => ClockId::ThreadCPUTime,
        Clock::Wall => ClockId::Monotonic,
    };
    let start = clock_gettime(id);
    calls()?;
    Duration::try_from(clock_gettime(id) - start).map_err(|_| io::Error::other("a clock went backwards"))
}

/// One segment in its own topic-partition.
fn file(dir: &Path, number: usize, pages: usize) -> io::Result<File> {
    let partition = dir.join(format!("bench-{number}"));
    fs::create_dir_all(&partition)?;
    let path = partition.join("00000000000000000000.log");
    fs::write(&path, vec![0x5a; PAGE * pages])?;
    File::open(path)
}

/// Calls that moved less measured something else. Asked once for all of them: a function that is called after each decides by where
/// it lies how well the processor foresees the way through the kernel.
fn whole(moved: usize, wanted: usize) -> io::Result<()> {
    if moved == wanted { Ok(()) } else { Err(io::Error::other(format!("{moved} of {wanted} bytes moved"))) }
}
