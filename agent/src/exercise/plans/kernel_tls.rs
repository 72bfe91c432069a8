//! Sends through a socket whose bytes the kernel encrypts (kernel TLS): by `sendfile` and `splice`, which stay zero copy, and
//! from memory. The other end reads what is on the wire: TLS records, more bytes than were sent.

use std::path::Path;

use agent_ebpf::Syscall::{Read, Sendfile, Sendmsg, Splice, Write};

use super::flows::log;
use crate::exercise::{
    ExerciseError, Recorder,
    objects::{Object, Side, connection, listener, pipe},
    plans::Calls,
    recorder::moved,
};

// include/uapi/linux/{socket,tcp,tls}.h
const SOL_TLS: i32 = 282;
const TCP_ULP: i32 = 31;
const TLS_TX: i32 = 1;
const TLS_1_2: u16 = 0x0303;
const TLS_CIPHER_AES_GCM_128: u16 = 51;
/// Before the data of a record: type, version, length.
const HEADER: usize = 5;
/// Of a record's length: the explicit part of the nonce, and the tag (RFC 5288, 3).
const NONCE: usize = 8;
const NONCE_AND_TAG: usize = NONCE + 16;

pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    let orders = log(dir, "orders-0")?;
    let listener = listener(false)?;
    let (accepted, opened) = connection(&listener)?;
    encrypt(&accepted)?;
    let (pipe_out, pipe_in) = pipe()?;
    let mut peer = Peer { socket: opened, pending: Vec::new(), taken: 0 };
    Ok(Box::new(move |recorder| {
        let _listener = listener;
        for bytes in [60_000, 1_000] {
            let sent = moved("sendfile", recorder.between(Sendfile, &orders, &accepted, bytes))?;
            peer.take(recorder, sent)?;
        }
        for (call, bytes) in [(Write, 40_000), (Sendmsg, 100)] {
            let sent = moved(call.name(), recorder.copy(call, &accepted, bytes))?;
            peer.take(recorder, sent)?;
        }
        let filled = moved("splice", recorder.between(Splice, &orders, &pipe_in, 10_000))?;
        let sent = moved("splice", recorder.between(Splice, &pipe_out, &accepted, filled))?;
        peer.take(recorder, sent)
    }))
}

/// From here on the kernel encrypts what is sent: with a key that nobody needs, since nobody decrypts.
fn encrypt(socket: &Object) -> Result<(), ExerciseError> {
    set(socket, libc::IPPROTO_TCP, TCP_ULP, b"tls")?;
    // struct tls12_crypto_info_aes_gcm_128: version, cipher; iv, key, salt, sequence number.
    let mut info = [0; 40];
    info[..2].copy_from_slice(&TLS_1_2.to_ne_bytes());
    info[2..4].copy_from_slice(&TLS_CIPHER_AES_GCM_128.to_ne_bytes());
    set(socket, SOL_TLS, TLS_TX, &info)
}

fn set(socket: &Object, level: i32, option: i32, value: &[u8]) -> Result<(), ExerciseError> {
    let length = libc::socklen_t::try_from(value.len()).unwrap_or(0);
    // SAFETY: the value outlives the call.
    if unsafe { libc::setsockopt(socket.raw(), level, option, value.as_ptr().cast(), length) } == 0 {
        return Ok(());
    }
    let error = std::io::Error::last_os_error();
    Err(ExerciseError::Impossible(format!(
        "kernel TLS can't be switched on (the kernel's modules tls and gcm): {error}"
    )))
}

/// The end that reads records, as they are on the wire.
struct Peer {
    socket: Object,
    /// A record that has not come whole.
    pending: Vec<u8>,
    /// Bytes that were encrypted, of the records so far.
    taken: usize,
}

impl Peer {
    /// Reads until records with so many bytes in them have come.
    fn take(&mut self, recorder: &mut Recorder, bytes: usize) -> Result<(), ExerciseError> {
        let mut buffer = vec![0; 65_536];
        self.taken = 0;
        while self.taken < bytes {
            // SAFETY: the kernel writes within the buffer.
            let read = unsafe { libc::read(self.socket.raw(), buffer.as_mut_ptr().cast(), buffer.len()) } as i64;
            let read = recorder.note(Read, &self.socket.side, &Side::MEMORY, read, read.max(0).unsigned_abs());
            self.pending.extend_from_slice(&buffer[..moved("read", read)?]);
            self.records()?;
        }
        Ok(())
    }

    /// Takes the records that are whole.
    fn records(&mut self) -> Result<(), ExerciseError> {
        while let [kind, 3, 3, high, low, rest @ ..] = self.pending.as_slice() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some(record) = rest.get(..length) else { return Ok(()) };
            // What is sent here is one byte, over and over; what is encrypted is not.
            let data = record.get(NONCE..).unwrap_or_default();
            let is_plain = data.windows(8).any(|part| part.iter().all(|byte| *byte == part[0]));
            if *kind != 23 || length < NONCE_AND_TAG || is_plain {
                return Err(ExerciseError::Impossible("what left is no record of encrypted data".to_owned()));
            }
            self.taken += length - NONCE_AND_TAG;
            self.pending.drain(..HEADER + length);
        }
        Ok(())
    }
}
