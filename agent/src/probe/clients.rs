//! Traffic by remote address: what was counted, and its end.

use agent_ebpf::{ClientBytes, ClientKey};
use aya::{
    Ebpf,
    maps::{HashMap, MapError},
};

use super::{ProbeError, batch::for_each, load::map_mut};
use crate::snapshot::{Client, Clients};

const CLIENTS: &str = "CLIENTS";
const OTHER: &str = "CLIENTS_OTHER";

/// Everything that was counted of some targets, in their order.
pub(super) fn read(ebpf: &Ebpf, slots: &[u16]) -> Result<Vec<Clients>, ProbeError> {
    let mut read = vec![Clients::default(); slots.len()];
    for map in [CLIENTS, OTHER] {
        for_each(ebpf, map, |key: &ClientKey, values: &[ClientBytes]| {
            let place = slots.iter().position(|slot| u32::from(*slot) == key.target);
            if let Some((clients, port)) = place.and_then(|place| read.get_mut(place)).zip(u16::try_from(key.port).ok())
            {
                clients.add(Client { port, address: key.address.into() }, values[0].bytes);
            }
        })?;
    }
    Ok(read)
}

/// Forgets what was counted for a target that is let go.
pub(super) fn clear(ebpf: &mut Ebpf, slot: u16) -> Result<(), ProbeError> {
    for name in [CLIENTS, OTHER] {
        let mut keys = Vec::new();
        for_each(ebpf, name, |key: &ClientKey, _: &[ClientBytes]| {
            if key.target == u32::from(slot) {
                keys.push(*key);
            }
        })?;
        let mut map: HashMap<_, ClientKey, ClientBytes> = map_mut(ebpf, name)?;
        for key in keys {
            match map.remove(&key) {
                Ok(()) | Err(MapError::KeyNotFound) => {}
                Err(error) => return Err(ProbeError::from_bpf(format!("clear the map {name}"), &error)),
            }
        }
    }
    Ok(())
}
