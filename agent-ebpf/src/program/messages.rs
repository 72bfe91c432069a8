//! Bytes of `sendmmsg` and `recvmmsg`, which return messages: the bytes of each are in its `msg_len`, which the kernel has
//! just written.

use agent_ebpf::Counter;

use super::{call::Call, counter::count, read::user};

/// `UIO_MAXIOV`: these calls handle no more messages (`net/socket.c`).
const MAX_MESSAGES: u64 = 1024;
/// How many of them are looked at by one call of [`part_bytes`].
const PART: u64 = 32;
// struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; }, padded to pointers (include/linux/socket.h).
const SIZE: u64 = 64;
const LENGTH: u64 = 56;
const COMPAT_SIZE: u64 = 32;
const COMPAT_LENGTH: u64 = 28;
/// What [`message_bytes`] returns where a length could not be read.
const UNKNOWN: u64 = u64::MAX;

/// The bytes of `messages` messages; 0 if they can't be read, which is counted.
#[inline(always)]
pub(crate) fn bytes(target: u32, call: &Call, messages: u64) -> u64 {
    let bytes = message_bytes(call.argument(1), messages, call.compat as u64);
    if bytes != UNKNOWN {
        return bytes;
    }
    count(target, Counter::LengthUnknown, 1);
    0
}

/// A global function: the verifier looks at its loop once, not for every way that leads here.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn message_bytes(vector: u64, messages: u64, compat: u64) -> u64 {
    let (mut vector, mut messages, mut bytes) = (vector, messages, 0);
    let mut part = 0;
    while part < MAX_MESSAGES / PART {
        let of_part = part_bytes(vector, messages, compat);
        if of_part == UNKNOWN {
            return UNKNOWN;
        }
        bytes += of_part;
        if messages <= PART {
            break;
        }
        messages -= PART;
        vector += PART * if compat != 0 { COMPAT_SIZE } else { SIZE };
        part += 1;
    }
    bytes
}

/// The bytes of at most [`PART`] messages. A global function of its own: a loop in a loop, of which the verifier walks either
/// once, and not a thousand times through one.
#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn part_bytes(vector: u64, messages: u64, compat: u64) -> u64 {
    let (size, length) = if compat != 0 { (COMPAT_SIZE, COMPAT_LENGTH) } else { (SIZE, LENGTH) };
    let mut length = vector + length;
    let mut bytes = 0;
    let mut message = 0;
    while message < PART {
        if message >= messages {
            break;
        }
        match user::<u32>(length) {
            Some(length) => bytes += length as u64,
            None => return UNKNOWN,
        }
        length += size;
        message += 1;
    }
    bytes
}
