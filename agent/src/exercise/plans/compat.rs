//! The 32-bit system-call table, by `int 0x80`. Its numbers mean other calls in the 64-bit table.

use std::path::Path;

use crate::exercise::{ExerciseError, plans::Calls};

#[cfg(not(target_arch = "x86_64"))]
pub(in crate::exercise) fn prepare(_: &Path) -> Result<Calls, ExerciseError> {
    Err(ExerciseError::Impossible("the 32-bit table is called on x86_64 only".to_owned()))
}

#[cfg(target_arch = "x86_64")]
pub(in crate::exercise) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
    x86::prepare(dir)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::ptr;

    use agent_ebpf::Syscall::{
        Pread64, Read, Readv, Recvfrom, Recvmmsg, Recvmsg, Sendfile, Sendmmsg, Sendmsg, Sendto, Write, Writev,
    };

    use super::{Calls, ExerciseError, Path};
    use crate::exercise::{
        Recorder,
        objects::{Object, Side, connection, file, listener, udp_pair},
        recorder::moved,
    };

    // arch/x86/entry/syscalls/syscall_32.tbl
    const READ: u32 = 3;
    const WRITE: u32 = 4;
    const GETPID: u32 = 20; // writev in the 64-bit table
    const GETUID: u32 = 24;
    const SYNC: u32 = 36;
    const GETGID: u32 = 47; // recvmsg in the 64-bit table
    const SOCKETCALL: u32 = 102;
    const READV: u32 = 145;
    const WRITEV: u32 = 146;
    const PREAD64: u32 = 180;
    const SENDFILE: u32 = 187;
    const RECVMMSG: u32 = 337;
    const SENDMMSG: u32 = 345;
    // include/uapi/linux/net.h
    const SYS_SEND: u32 = 9;
    const SYS_RECV: u32 = 10;
    const SYS_SENDMSG: u32 = 16;
    const SYS_RECVMSG: u32 = 17;

    /// Memory below 4 GiB, which 32-bit arguments can name.
    #[repr(C)]
    struct Low {
        data: [u8; 8192],
        /// Two `struct iovec`: address and length.
        parts: [u32; 4],
        /// Two `struct mmsghdr`: seven words of a `struct msghdr`, and the length.
        messages: [[u32; 8]; 2],
        /// Arguments of `socketcall`.
        words: [u32; 6],
    }

    fn low() -> Result<*mut Low, ExerciseError> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping, kept until the process ends.
        let memory = unsafe { libc::mmap(ptr::null_mut(), size_of::<Low>(), protection, flags, -1, 0) };
        if memory == libc::MAP_FAILED { Err(ExerciseError::last("map low memory")) } else { Ok(memory.cast()) }
    }

    /// A call through the 32-bit table. Sets `errno` as the C library does.
    ///
    /// # Safety
    /// As of the call itself.
    unsafe fn call(nr: u32, arguments: [u32; 5]) -> i64 {
        let result: i32;
        // SAFETY: the kernel keeps all registers but eax, and clears r8 to r11. rbx is the compiler's own.
        unsafe {
            std::arch::asm!(
                "xchg {first}, rbx",
                "int 0x80",
                "xchg {first}, rbx",
                first = inout(reg) u64::from(arguments[0]) => _,
                inlateout("eax") nr => result,
                in("ecx") arguments[1],
                in("edx") arguments[2],
                in("esi") arguments[3],
                in("edi") arguments[4],
                out("r8") _, out("r9") _, out("r10") _, out("r11") _,
            );
        }
        if (-4095..0).contains(&result) {
            // SAFETY: this thread's own errno.
            unsafe { *libc::__errno_location() = -result };
            return -1;
        }
        result.into()
    }

    /// An address as a 32-bit argument; the mapping was asked for below 4 GiB.
    #[allow(clippy::cast_possible_truncation)]
    fn address<T>(of: *const T) -> u32 {
        of as usize as u32
    }

    fn number(object: &Object) -> u32 {
        object.raw().cast_unsigned()
    }

    pub(super) fn prepare(dir: &Path) -> Result<Calls, ExerciseError> {
        let source = file(dir, "source", 65_536)?;
        let listener = listener(false)?;
        let (accepted, opened) = connection(&listener)?;
        let datagrams = udp_pair()?;
        let memory = low()?;
        Ok(Box::new(move |recorder| {
            let _listener = listener;
            // SAFETY: every address lies in the low mapping, every length within it.
            unsafe {
                (&raw mut (*memory).parts).write([
                    address(&raw const (*memory).data),
                    1000,
                    address(&raw const (*memory).data) + 1000,
                    500,
                ]);
                streams(recorder, memory, &source, &accepted, &opened)?;
                socketcalls(recorder, memory, &accepted, &opened)?;
                messages(recorder, memory, &datagrams.0, &datagrams.1)?;
                for harmless in [GETPID, GETUID, SYNC, GETGID] {
                    call(harmless, [0; 5]);
                }
            }
            Ok(())
        }))
    }

    unsafe fn streams(
        recorder: &mut Recorder,
        memory: *mut Low,
        source: &Object,
        from: &Object,
        to: &Object,
    ) -> Result<(), ExerciseError> {
        // SAFETY: the caller's.
        unsafe {
            let (data, parts) = (address(&raw const (*memory).data), address(&raw const (*memory).parts));
            let ret = call(PREAD64, [number(source), data, 4000, 0, 0]);
            moved("pread64", recorder.note(Pread64, &source.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
            let ret = call(WRITE, [number(from), data, 4000, 0, 0]);
            moved("write", recorder.note(Write, &Side::MEMORY, &from.side, ret, ret.unsigned_abs()))?;
            let ret = call(READ, [number(to), data, 4000, 0, 0]);
            moved("read", recorder.note(Read, &to.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
            let ret = call(WRITEV, [number(from), parts, 2, 0, 0]);
            moved("writev", recorder.note(Writev, &Side::MEMORY, &from.side, ret, ret.unsigned_abs()))?;
            let ret = call(READV, [number(to), parts, 2, 0, 0]);
            moved("readv", recorder.note(Readv, &to.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
            let ret = call(SENDFILE, [number(from), number(source), 0, 5000, 0]);
            moved("sendfile", recorder.note(Sendfile, &source.side, &from.side, ret, ret.unsigned_abs()))?;
            let ret = call(READ, [number(to), data, 8000, 0, 0]);
            moved("read", recorder.note(Read, &to.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
            // EBADF, through the same table.
            let ret = call(READ, [u32::MAX, data, 1, 0, 0]);
            recorder.note(Read, &to.side, &Side::MEMORY, ret, 0);
        }
        Ok(())
    }

    unsafe fn socketcalls(
        recorder: &mut Recorder,
        memory: *mut Low,
        from: &Object,
        to: &Object,
    ) -> Result<(), ExerciseError> {
        // SAFETY: the caller's.
        unsafe {
            let (data, words) = (address(&raw const (*memory).data), address(&raw const (*memory).words));
            let header = (&raw mut (*memory).messages).cast::<[u32; 7]>();
            header.write([0, 0, address(&raw const (*memory).parts), 2, 0, 0, 0]);
            let socketcall = |which, arguments: [u32; 6]| {
                (&raw mut (*memory).words).write(arguments);
                call(SOCKETCALL, [which, words, 0, 0, 0])
            };
            let ret = socketcall(SYS_SEND, [number(from), data, 700, 0, 0, 0]);
            moved("send", recorder.note(Sendto, &Side::MEMORY, &from.side, ret, ret.unsigned_abs()))?;
            let ret = socketcall(SYS_RECV, [number(to), data, 700, 0, 0, 0]);
            moved("recv", recorder.note(Recvfrom, &to.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
            let ret = socketcall(SYS_SENDMSG, [number(from), address(header), 0, 0, 0, 0]);
            moved("sendmsg", recorder.note(Sendmsg, &Side::MEMORY, &from.side, ret, ret.unsigned_abs()))?;
            let ret = socketcall(SYS_RECVMSG, [number(to), address(header), 0, 0, 0, 0]);
            moved("recvmsg", recorder.note(Recvmsg, &to.side, &Side::MEMORY, ret, ret.unsigned_abs()))?;
        }
        Ok(())
    }

    unsafe fn messages(
        recorder: &mut Recorder,
        memory: *mut Low,
        from: &Object,
        to: &Object,
    ) -> Result<(), ExerciseError> {
        // SAFETY: the caller's.
        unsafe {
            let parts = address(&raw const (*memory).parts);
            let vector = address(&raw const (*memory).messages);
            let headers = [[0, 0, parts, 1, 0, 0, 0, 0], [0, 0, parts + 8, 1, 0, 0, 0, 0]];
            let place = &raw mut (*memory).messages;
            let bytes = || place.read().iter().map(|message| u64::from(message[7])).sum::<u64>();
            place.write(headers);
            let ret = call(SENDMMSG, [number(from), vector, 2, 0, 0]);
            moved("sendmmsg", recorder.note(Sendmmsg, &Side::MEMORY, &from.side, ret, bytes()))?;
            place.write(headers);
            let ret = call(RECVMMSG, [number(to), vector, 2, libc::MSG_DONTWAIT.cast_unsigned(), 0]);
            moved("recvmmsg", recorder.note(Recvmmsg, &to.side, &Side::MEMORY, ret, bytes()))?;
        }
        Ok(())
    }
}
