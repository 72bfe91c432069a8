//! The running task.

use aya_ebpf::helpers::generated::{bpf_get_current_task, bpf_get_current_task_btf};

use super::globals::has;

/// `struct task_struct *`, for [`super::read::near`].
#[inline(always)]
pub(crate) fn running_task() -> *const u8 {
    if has(|features| &features.typed_task) {
        // SAFETY: the helper only returns a pointer.
        unsafe { bpf_get_current_task_btf() }.cast::<u8>().cast_const()
    } else {
        // SAFETY: as above.
        unsafe { bpf_get_current_task() as *const u8 }
    }
}
