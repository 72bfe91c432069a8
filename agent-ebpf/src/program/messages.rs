//! Bytes of `sendmmsg` and `recvmmsg`, which return messages: the bytes of each are in its `msg_len`, which the kernel has
//! just written.

use agent_ebpf::Counter;
use aya_ebpf::helpers::generated::bpf_probe_read_user;

use super::{
    call::Call,
    counter::count,
    globals::has,
    maps::MESSAGES,
    read::{forget, user},
};

/// `UIO_MAXIOV`: these calls handle no more messages (`net/socket.c`).
const MAX_MESSAGES: u32 = 1024;
/// `struct mmsghdr { struct msghdr msg_hdr; unsigned int msg_len; }`, padded to pointers (include/linux/socket.h): words of
/// one, and the word with the length in its lower half.
const WORDS: usize = 8;
const LENGTH_WORD: usize = 7;
/// Messages copied at a time.
const CHUNK: u32 = 32;
/// Words of a chunk.
pub(crate) const CHUNK_WORDS: usize = CHUNK as usize * WORDS;

/// The bytes of `messages` messages. What can't be read is missing, and counted as such.
#[inline(always)]
pub(crate) fn bytes(target: u32, ids: u64, call: &Call, messages: u64) -> u64 {
    let sum = if !call.compat && has(|features| &features.exclusive) {
        in_chunks(call.argument(1), messages as u32)
    } else {
        one_by_one(ids, call, messages as u32)
    };
    let (bytes, known) = sum;
    if forget(known as u64, ids) == 0 {
        count(target, Counter::LengthUnknown, 1);
    }
    forget(bytes, ids)
}

#[inline(always)]
fn in_chunks(vector: u64, messages: u32) -> (u64, bool) {
    let Some(chunk) = MESSAGES.get_ptr_mut(0) else { return (0, false) };
    let chunk = chunk.cast::<u64>();
    let (mut bytes, mut done) = (0, 0);
    while done < MAX_MESSAGES {
        if done >= messages {
            return (bytes, true);
        }
        let here = if messages - done < CHUNK { messages - done } else { CHUNK } & (2 * CHUNK - 1);
        let from = vector + done as u64 * (WORDS as u64 * 8);
        // SAFETY: `here` is at most a chunk; the helper checks the address.
        if unsafe { bpf_probe_read_user(chunk.cast(), here * (WORDS as u32 * 8), from as *const _) } != 0 {
            return (bytes, false);
        }
        let mut message = 0;
        while message < CHUNK {
            if message < here {
                // SAFETY: within the chunk.
                bytes += unsafe { *chunk.add(message as usize * WORDS + LENGTH_WORD) } & 0xffff_ffff;
            }
            message += 1;
        }
        done += CHUNK;
    }
    (bytes, true)
}

#[inline(always)]
fn one_by_one(ids: u64, call: &Call, messages: u32) -> (u64, bool) {
    let (size, length) = if call.compat { (32, 28) } else { (64, 56) };
    let mut length = forget(call.argument(1) + length, ids);
    let size = forget(size, ids);
    let (mut bytes, mut message) = (0, 0);
    while message < MAX_MESSAGES {
        if message >= messages {
            break;
        }
        let Some(this) = user::<u32>(length) else { return (bytes, false) };
        bytes += this as u64;
        length += size;
        message += 1;
    }
    (bytes, true)
}
