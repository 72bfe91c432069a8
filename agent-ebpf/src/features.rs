//! What the running kernel and the leg in use allow: set by the agent before load, so that the verifier drops what is
//! not used. And how it is set.

/// A table of numbers that the agent writes into the program's instructions before load: `r = PLACEHOLDER` becomes `r = number`, and
/// an offset in a load (see [`in_load`]) that offset. Of `u32`s alone, each below 2^31; what stands in a load below 2^15.
///
/// In `.rodata` the verifier would know them as well, but the processor would load each: there are forty on the way of a read.
pub trait Constants {
    /// The first one's placeholder; that of the others is as many bytes behind as they are in the table.
    const BASE: u32;
}

/// What stands in a load, `r = *(base + PLACEHOLDER)`, for the offset with this placeholder: there are but 16 bits.
#[must_use]
#[allow(clippy::cast_possible_truncation)] // below 0x6a00
pub const fn in_load(placeholder: u32) -> u16 {
    let (table, member) = (placeholder >> 12 & 0xf, (placeholder & 0xfff) / 4);
    assert!(member < 256);
    (0x5a00 + (table << 8) + member) as u16
}

impl Constants for Features {
    const BASE: u32 = 0x5a44_0000;
}
impl Constants for crate::Offsets {
    const BASE: u32 = 0x5a44_1000;
}
impl Constants for crate::FillOffsets {
    const BASE: u32 = 0x5a44_2000;
}
impl Constants for crate::ClientOffsets {
    const BASE: u32 = 0x5a44_3000;
}
impl Constants for crate::OrderOffsets {
    const BASE: u32 = 0x5a44_4000;
}

/// Each is 0 or 1.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// `bpf_get_current_task_btf` (Linux 5.11): members of the running task are loaded directly. Otherwise they are
    /// copied by a helper.
    pub typed_task: u32,
    /// [`KFUNC_CAST`] (Linux 6.2): members of what lies behind a descriptor are loaded directly, too.
    pub casts: u32,
    /// No other thread can run the program on this CPU meanwhile: per-CPU values need no atomic instructions, and what
    /// the CPU did last may be remembered.
    pub exclusive: u32,
    /// With [`casts`](Self::casts), [`exclusive`](Self::exclusive) and `rq.curr`: the running task is found without a call
    /// of a helper, which costs 20 ns each where returns are slowed down against speculation.
    pub run_queue: u32,
    /// `BPF_FETCH` (Linux 5.12). Otherwise indices come from the queues alone.
    pub fetch: u32,
    /// [`KFUNC_PREEMPT_DISABLE`] (Linux 6.10) makes a preemptible hook [exclusive](Self::exclusive).
    pub disable_preemption: u32,
    /// The program runs at the returns of functions, whose registers are its context, not at tracepoints.
    pub return_probe: u32,
    /// Pages that come into the page cache are counted, and told by whose sockets they were for.
    pub page_cache: u32,
    /// Asked for: how long calls take.
    pub latency: u32,
    /// Asked for: traffic by remote address.
    pub clients: u32,
    /// Asked for: in what order files are read and written, and what `sendfile` calls did not send.
    pub order: u32,
}

/// A function of the kernel that the program calls. Its number is known only when the object is loaded; in the object
/// stands this one in its place, in a call instruction that the agent finds by it and rewrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kfunc {
    /// Its name in the kernel's BTF.
    pub name: &'static str,
    /// What stands in the object.
    pub placeholder: u32,
}

impl Kfunc {
    /// The call instruction as it stands in the object: `BPF_JMP | BPF_CALL`, source register `BPF_PSEUDO_KFUNC_CALL`.
    #[must_use]
    pub const fn call(self) -> [u8; 8] {
        let [a, b, c, d] = self.placeholder.to_le_bytes();
        [0x85, 0x20, 0, 0, a, b, c, d]
    }
}

/// `void *bpf_rdonly_cast(void *obj, u32 btf_id)` (`kernel/bpf/helpers.c`): no call at all once the verifier has seen it.
pub const KFUNC_CAST: Kfunc = Kfunc { name: "bpf_rdonly_cast", placeholder: 0x5a43_5401 };
/// `void bpf_preempt_disable(void)` (`kernel/bpf/helpers.c`).
pub const KFUNC_PREEMPT_DISABLE: Kfunc = Kfunc { name: "bpf_preempt_disable", placeholder: 0x5a43_5402 };
/// `void bpf_preempt_enable(void)`.
pub const KFUNC_PREEMPT_ENABLE: Kfunc = Kfunc { name: "bpf_preempt_enable", placeholder: 0x5a43_5403 };

/// Every one of them.
pub const KFUNCS: [Kfunc; 3] = [KFUNC_CAST, KFUNC_PREEMPT_DISABLE, KFUNC_PREEMPT_ENABLE];

/// How many functions of one prototype the leg `fexit` can hook beside the first.
pub const FEXIT_STUBS: usize = 24;
