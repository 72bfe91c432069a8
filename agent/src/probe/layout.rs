//! Where the running kernel keeps what the program reads, from the kernel's own BTF.

use std::{io, path::Path};

use agent_ebpf::{ClientOffsets, FillOffsets, Offsets, OrderOffsets};

use super::{
    btf::{Btf, Kind},
    error::ProbeError,
    mapped::Bytes,
};

/// BTF of the running kernel.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Types of a kernel.
pub struct Layout {
    types: Btf,
}

impl Layout {
    /// Of the running kernel.
    ///
    /// # Errors
    /// [`ProbeError::NoBtf`] if there are none.
    pub(super) fn of_this_machine() -> Result<Self, ProbeError> {
        let no_btf = |error: io::Error| ProbeError::NoBtf { path: VMLINUX.to_owned(), reason: error.to_string() };
        Self::new(Bytes::of(Path::new(VMLINUX)).map_err(no_btf)?)
    }

    /// Reads BTF as it lies in [`VMLINUX`].
    ///
    /// # Errors
    /// [`ProbeError::NoBtf`] if it is none.
    pub fn parse(btf: &[u8]) -> Result<Self, ProbeError> {
        Self::new(btf)
    }

    fn new(btf: impl Into<Bytes>) -> Result<Self, ProbeError> {
        let no_btf = |reason: &str| ProbeError::NoBtf { path: VMLINUX.to_owned(), reason: reason.to_owned() };
        Ok(Self { types: Btf::parse(btf).map_err(no_btf)? })
    }

    /// Whether there is a function of this name.
    #[must_use]
    pub fn has_function(&self, name: &str) -> bool {
        self.function(name).is_some()
    }

    /// The number of the function of this name.
    pub(super) fn function(&self, name: &str) -> Option<u32> {
        self.types.id(name, Kind::Func)
    }

    /// The number of the type of this kind and name.
    pub(super) fn id_of(&self, name: &str, kind: Kind) -> Option<u32> {
        self.types.id(name, kind)
    }

    /// The number of the prototype of the function of this name: functions that differ only in a parameter's name differ in
    /// this.
    pub(super) fn prototype(&self, function: &str) -> Option<u32> {
        self.types.prototype(function)
    }

    /// Whether there is a raw tracepoint of this name.
    #[must_use]
    pub fn has_tracepoint(&self, name: &str) -> bool {
        self.types.id(&format!("btf_trace_{name}"), Kind::Typedef).is_some()
    }

    /// Byte offset of `member` (a path such as `__sk_common.skc_num`) in `structure`.
    fn offset(&self, structure: &str, member: &str) -> Result<u32, ProbeError> {
        let unknown = || ProbeError::UnknownLayout { member: format!("{structure}.{member}") };
        let offset = self.types.offset(structure, member).ok_or_else(unknown)?;
        // More than a load's instruction can hold, and than any of these structures is long.
        if i16::try_from(offset).is_ok() { Ok(offset) } else { Err(unknown()) }
    }

    /// Its number in this BTF.
    fn id(&self, structure: &str) -> Result<u32, ProbeError> {
        let unknown = || ProbeError::UnknownLayout { member: structure.to_owned() };
        self.types.id(structure, Kind::Struct).ok_or_else(unknown)
    }

    fn size(&self, structure: &str) -> Result<u32, ProbeError> {
        let unknown = || ProbeError::UnknownLayout { member: structure.to_owned() };
        self.types.size(structure).ok_or_else(unknown)
    }

    /// What the program needs.
    ///
    /// # Errors
    /// [`ProbeError::UnknownLayout`] with the first member that this kernel does not have.
    pub fn offsets(&self) -> Result<Offsets, ProbeError> {
        let at = |structure, member| self.offset(structure, member);
        let registers = self.registers()?;
        Ok(Offsets {
            task_tgid: at("task_struct", "tgid")?,
            task_pid: at("task_struct", "pid")?,
            task_group_leader: at("task_struct", "group_leader")?,
            task_start_boottime: at("task_struct", "start_boottime")?,
            task_thread_pid: at("task_struct", "thread_pid")?,
            task_files: at("task_struct", "files")?,
            pid_level: at("pid", "level")?,
            pid_numbers: at("pid", "numbers")?,
            upid_size: self.size("upid")?,
            upid_nr: at("upid", "nr")?,
            files_fdt: at("files_struct", "fdt")?,
            fdtable_max_fds: at("fdtable", "max_fds")?,
            fdtable_fd: at("fdtable", "fd")?,
            file_mode: at("file", "f_mode")?,
            file_inode: at("file", "f_inode")?,
            file_dentry: at("file", "f_path.dentry")?,
            file_private_data: at("file", "private_data")?,
            inode_mode: at("inode", "i_mode")?,
            inode_sb: at("inode", "i_sb")?,
            inode_ino: at("inode", "i_ino")?,
            inode_generation: at("inode", "i_generation")?,
            super_block_dev: at("super_block", "s_dev")?,
            dentry_parent: at("dentry", "d_parent")?,
            dentry_name: at("dentry", "d_name.name")?,
            dentry_inode: at("dentry", "d_inode")?,
            socket_type: at("socket", "type")?,
            socket_sk: at("socket", "sk")?,
            sock_family: at("sock", "__sk_common.skc_family")?,
            sock_num: at("sock", "__sk_common.skc_num")?,
            inet_sock_sport: at("inet_sock", "inet_sport")?,
            id_list_head: self.id("list_head")?,
            id_file: self.id("file")?,
            id_inode: self.id("inode")?,
            id_socket: self.id("socket")?,
            id_inet_sock: self.id("inet_sock")?,
            id_task: self.id("task_struct")?,
            pt_regs_nr: registers.pt_regs_nr,
            pt_regs_args: registers.pt_regs_args,
            pt_regs_result: registers.pt_regs_result,
            pt_regs_compat_args: registers.pt_regs_compat_args,
            task_compat_status: registers.task_compat_status,
            task_compat_bit: registers.task_compat_bit,
            ..self.run_queue().unwrap_or_default()
        })
    }

    /// The way to a CPU's run queue and the task that runs there: a kernel without it is asked by helpers.
    pub(super) fn run_queue(&self) -> Result<Offsets, ProbeError> {
        let at = |structure, member| self.offset(structure, member);
        Ok(Offsets {
            task_cfs_rq: at("task_struct", "se.cfs_rq")?,
            cfs_rq_rq: at("cfs_rq", "rq")?,
            rq_curr: at("rq", "curr")?,
            id_rq: self.id("rq")?,
            ..Offsets::default()
        })
    }

    /// What the program that sees pages come in needs. Before Linux 5.16 they come as `struct page`.
    ///
    /// # Errors
    /// [`ProbeError::UnknownLayout`] with the first member that this kernel does not have.
    pub fn fill_offsets(&self) -> Result<FillOffsets, ProbeError> {
        let folio = if self.id("folio").is_ok() { "folio" } else { "page" };
        let at = |member| self.offset(folio, member);
        let nr_pages = ["_nr_pages", "_folio_nr_pages"].iter().find_map(|member| self.types.offset("folio", member));
        // Without it a page's flags don't tell whether there are more.
        let head_bit = self.types.enumerator("pageflags", "PG_head");
        let (folio_nr_pages, head_bit) = nr_pages.zip(head_bit).unwrap_or_default();
        Ok(FillOffsets {
            folio_flags: at("flags")?,
            folio_mapping: at("mapping")?,
            folio_index: at("index")?,
            folio_nr_pages,
            head_bit,
            mapping_host: self.offset("address_space", "host")?,
            file_pos: self.offset("file", "f_pos")?,
            page_shift: rustix::param::page_size().trailing_zeros(),
            id_address_space: self.id("address_space")?,
        })
    }

    /// Where a connection's remote address is.
    ///
    /// # Errors
    /// As [`Self::fill_offsets`].
    pub fn client_offsets(&self) -> Result<ClientOffsets, ProbeError> {
        Ok(ClientOffsets {
            ipv4: self.offset("sock", "__sk_common.skc_daddr")?,
            // A kernel without IPv6 has none.
            ipv6: self.offset("sock", "__sk_common.skc_v6_daddr").unwrap_or(0),
        })
    }

    /// Where a file's position, its flags and its size are.
    ///
    /// # Errors
    /// As [`Self::fill_offsets`].
    pub fn order_offsets(&self) -> Result<OrderOffsets, ProbeError> {
        Ok(OrderOffsets {
            file_pos: self.offset("file", "f_pos")?,
            file_flags: self.offset("file", "f_flags")?,
            inode_size: self.offset("inode", "i_size")?,
            file_read_end: self.offset("file", "f_ra.prev_pos").unwrap_or(0),
        })
    }

    /// What differs by architecture: told from the layout of `struct pt_regs` itself.
    fn registers(&self) -> Result<Offsets, ProbeError> {
        let at = |structure, member| self.offset(structure, member);
        if let Ok(nr) = at("pt_regs", "orig_ax") {
            // x86-64; arch/x86/include/asm/thread_info.h: TS_COMPAT.
            return Ok(Offsets {
                pt_regs_nr: nr,
                pt_regs_args: [at("pt_regs", "di")?, at("pt_regs", "si")?, at("pt_regs", "dx")?, at("pt_regs", "r10")?],
                pt_regs_result: at("pt_regs", "ax")?,
                pt_regs_compat_args: [
                    at("pt_regs", "bx")?,
                    at("pt_regs", "cx")?,
                    at("pt_regs", "dx")?,
                    at("pt_regs", "si")?,
                ],
                task_compat_status: at("task_struct", "thread_info.status")?,
                task_compat_bit: 2,
                ..Offsets::default()
            });
        }
        // arm64: the first argument's register holds the result at exit, orig_x0 still the argument;
        // arch/arm64/include/asm/thread_info.h: TIF_32BIT is bit 22.
        let first = at("pt_regs", "orig_x0")?;
        let regs = at("pt_regs", "regs").or_else(|_| at("pt_regs", "user_regs.regs"))?;
        Ok(Offsets {
            pt_regs_nr: at("pt_regs", "syscallno")?,
            pt_regs_args: [first, regs + 8, regs + 16, regs + 24],
            pt_regs_result: regs,
            pt_regs_compat_args: [first, regs + 8, regs + 16, regs + 24],
            task_compat_status: at("task_struct", "thread_info.flags")?,
            task_compat_bit: 1 << 22,
            ..Offsets::default()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_btf_is_refused_with_a_reason() {
        for bytes in [&b""[..], b"not BTF at all, but long enough to hold a header", &[0x9f, 0xeb, 1, 0]] {
            let error = Layout::parse(bytes).err().unwrap().to_string();
            assert!(error.contains("CONFIG_DEBUG_INFO_BTF"), "{error}");
        }
    }
}
