//! What clients send and are sent, by remote address.

use agent_ebpf::{CLIENT_PATHS, ClientBytes, ClientKey};
use aya_ebpf::{macros::map, maps::HashMap};

use super::{
    counter::{add_shared, entry},
    globals::{offset, offset_in},
    object::{AF_INET, AF_INET6, socket_of, used_file_of},
    read::{far, far_at},
    task::current_task,
};

#[map]
pub(crate) static CLIENTS: HashMap<ClientKey, ClientBytes> = HashMap::with_max_entries(1, 0);
/// All others of each listener: those that found the table full, and connections without an address.
#[map]
pub(crate) static CLIENTS_OTHER: HashMap<ClientKey, ClientBytes> = HashMap::with_max_entries(1, 0);

/// The offset of this name.
macro_rules! at {
    ($member:ident) => {
        offset_in!(ClientOffsets, $member)
    };
}

/// Counts bytes of a connection that is open as `descriptor` and was accepted on `port`, by [`agent_ebpf::ClientPath`]. A
/// global function: the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn note_client(target: u64, descriptor: u64, port: u64, path: u64, bytes: u64) -> u64 {
    let mut key = ClientKey { address: [0; 16], target: target as u32, port: port as u32 };
    if let Some(address) = remote(descriptor as u32) {
        key.address = address;
        if add(&CLIENTS, &key, path, bytes) {
            return 0;
        }
        key.address = [0; 16];
    }
    add(&CLIENTS_OTHER, &key, path, bytes);
    0
}

/// Whether there is room for it.
#[inline(always)]
fn add(map: &HashMap<ClientKey, ClientBytes>, key: &ClientKey, path: u64, bytes: u64) -> bool {
    let Some(entry) = entry(map, key, ClientBytes { bytes: [0; CLIENT_PATHS] }) else { return false };
    // SAFETY: a field of a map's value; the path is below their number.
    add_shared(unsafe { (&raw mut (*entry).bytes).cast::<u64>().add(path as usize & (CLIENT_PATHS - 1)) }, bytes);
    true
}

/// The remote address of the running task's connection; `None` where there is none any more.
#[inline(always)]
fn remote(descriptor: u32) -> Option<[u8; 16]> {
    let (_, sock) = socket_of(used_file_of(current_task(), descriptor)?)?;
    let family = far::<u16, _>(sock, offset!(sock_family))?;
    let words = if family == AF_INET {
        [0, 0, 0xffff_u32.to_be(), far::<u32, _>(sock, at!(ipv4))?]
    } else if family == AF_INET6 && at!(ipv6).number() != 0 {
        let first = at!(ipv6).number();
        [
            far_at::<u32>(sock, first)?,
            far_at::<u32>(sock, first + 4)?,
            far_at::<u32>(sock, first + 8)?,
            far_at::<u32>(sock, first + 12)?,
        ]
    } else {
        return None;
    };
    if words[0] | words[1] | words[2] | words[3] == 0 {
        return None;
    }
    // SAFETY: both are sixteen bytes.
    Some(unsafe { core::mem::transmute::<[u32; 4], [u8; 16]>(words) })
}
