//! What clients send and are sent, by remote address: only counted where it is asked for.

/// What a client's traffic is told apart by.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientKey {
    /// Remote address, all zero for those that are not told apart; as it goes over the wire: of IPv6, or of IPv4 as IPv6 maps it (`::ffff:a.b.c.d`, RFC 4291, 2.5.5.2).
    pub address: [u8; 16],
    /// Slot of the target.
    pub target: u32,
    /// The listener's port.
    pub port: u32,
}

/// Listeners of a target whose other clients have a sum.
pub const CLIENT_LISTENERS: u32 = 1024;

/// In which way bytes went: index into [`ClientBytes`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPath {
    /// To the client, inside the kernel.
    ZeroCopy = 0,
    /// To the client, from memory.
    Copied,
    /// To the client, from memory, with `MSG_ZEROCOPY`.
    Undetermined,
    /// From the client.
    Received,
}

/// How many [`ClientPath`]s there are.
pub const CLIENT_PATHS: usize = 4;

/// Bytes of one [`ClientKey`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientBytes {
    /// Indexed by [`ClientPath`].
    pub bytes: [u64; CLIENT_PATHS],
}

/// Where the kernel keeps a connection's remote address: offsets in `struct sock`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientOffsets {
    /// `__sk_common.skc_daddr`.
    pub ipv4: u32,
    /// `__sk_common.skc_v6_daddr`; 0 where the kernel has no IPv6.
    pub ipv6: u32,
}
