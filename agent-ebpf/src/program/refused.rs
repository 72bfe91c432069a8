//! Calls of `sendfile` that the kernel refused, by the listener that they were for: what then leaves, leaves copied.

use agent_ebpf::{Endpoint, FLAG_REFUSED, Syscall, TransferKey};

use super::{
    call::Call,
    counter::add,
    maps::TRANSFERS,
    object::Object,
    recent::{Kind, transfer_index},
};

// include/uapi/asm-generic/errno.h
const EINVAL: i64 = 22;
const ENOSYS: i64 = 38;
const EOPNOTSUPP: i64 = 95;

/// Counts a call that ended in `ret`, if it is a refusal: the errors on which the JDK falls back to a mapping of the file
/// (`FileDispatcherImpl.transferTo0`), and their kin. Not one that comes again (`EAGAIN`) or that the peer caused.
#[inline(always)]
pub(crate) fn note(task: *const u8, target: u32, call: &Call, syscall: Syscall, ret: i64) {
    if syscall as u8 != Syscall::Sendfile as u8 || (ret != -EINVAL && ret != -ENOSYS && ret != -EOPNOTSUPP) {
        return;
    }
    let sink = Object::of(task, target, call.descriptor(0));
    if sink.kind != Endpoint::Socket as u8 {
        return;
    }
    let key = TransferKey {
        target: target as u16,
        syscall: Syscall::Sendfile as u8,
        source: Endpoint::Other as u8,
        sink: Endpoint::Socket as u8,
        flags: FLAG_REFUSED,
        padding: 0,
        port: sink.port,
    };
    if let Some(value) = transfer_index(Kind::of(&key)).and_then(|index| TRANSFERS.get_ptr_mut(index)) {
        // SAFETY: the first element of a map's value.
        add(unsafe { (&raw mut (*value).sizes).cast::<u64>() }, 1);
    }
}
