//! Where the running kernel keeps what the program reads: set by the agent from the kernel's own BTF before load.

/// Byte offsets of kernel structure members, and a few facts of the architecture.
///
/// They stand in the program's instructions, see [`Constants`](crate::Constants). None is ever compiled in.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // `structure_member`, as the kernel's headers spell them
pub struct Offsets {
    pub pt_regs_nr: u32,
    pub pt_regs_args: [u32; 4],
    /// Where a function's result is when it returns.
    pub pt_regs_result: u32,
    /// Where i386 calls keep theirs: ebx, ecx, edx, esi.
    pub pt_regs_compat_args: [u32; 4],
    /// `task_struct.thread_info.status` and its `TS_COMPAT` bit; a zero bit: this architecture tells another way.
    pub task_compat_status: u32,
    pub task_compat_bit: u32,
    pub task_tgid: u32,
    pub task_pid: u32,
    pub task_group_leader: u32,
    pub task_start_boottime: u32,
    pub task_thread_pid: u32,
    pub task_files: u32,
    /// `task_struct.se.cfs_rq`, and the way from there to the task that a CPU runs: for
    /// [`Features::run_queue`](crate::Features::run_queue).
    pub task_cfs_rq: u32,
    pub cfs_rq_rq: u32,
    pub rq_curr: u32,
    pub pid_level: u32,
    pub pid_numbers: u32,
    pub upid_size: u32,
    pub upid_nr: u32,
    pub files_fdt: u32,
    pub fdtable_max_fds: u32,
    pub fdtable_fd: u32,
    pub file_mode: u32,
    pub file_inode: u32,
    pub file_dentry: u32,
    pub file_private_data: u32,
    pub inode_mode: u32,
    pub inode_sb: u32,
    pub inode_ino: u32,
    pub inode_generation: u32,
    pub super_block_dev: u32,
    pub dentry_parent: u32,
    pub dentry_name: u32,
    pub dentry_inode: u32,
    pub socket_type: u32,
    pub socket_sk: u32,
    pub sock_family: u32,
    pub sock_num: u32,
    pub inet_sock_sport: u32,
    /// Numbers of types in the kernel's BTF, for [`Features::casts`](crate::Features::casts).
    pub id_list_head: u32,
    pub id_file: u32,
    pub id_inode: u32,
    pub id_socket: u32,
    pub id_inet_sock: u32,
    pub id_rq: u32,
    pub id_task: u32,
}
