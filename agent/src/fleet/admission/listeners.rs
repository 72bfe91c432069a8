//! Listeners that have no series of their own, as one.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Series;
use crate::report::{Egress, Flow, Listener, LocalPort, OTHER, Report, Transfer};

impl Series {
    /// Folds listeners that have no series into [`OTHER`], in their own list and in the transfers. Returns how many have
    /// been folded so far.
    pub(in crate::fleet) fn fold_listeners(&mut self, report: &mut Report) -> u64 {
        // What the broker is configured with goes before whatever else listens.
        let mut ports: Vec<_> = report.listeners.iter().filter_map(|l| Some((l.name.is_none(), l.port?))).collect();
        ports.sort_unstable();
        let refused: BTreeSet<u16> = ports
            .into_iter()
            .map(|(_, port)| port)
            .filter(|port| self.folded_listeners.contains(port) || !self.listeners.admits(&LocalPort::Port(*port)))
            .collect();
        self.folded_listeners.extend(&refused);
        if refused.is_empty() {
            return self.folded_listeners.len() as u64;
        }
        let is_refused = |port: Option<u16>| port.is_some_and(|port| refused.contains(&port));
        let (folded, mut kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut report.listeners).into_iter().partition(|listener| is_refused(listener.port));
        let position =
            kept.iter().position(|listener| listener.port.is_none() && listener.name.as_deref() == Some(OTHER));
        let position = position.unwrap_or_else(|| {
            let name = Some(OTHER.to_owned());
            let (egress, verdict) = (Egress::default(), String::new());
            kept.push(Listener { name, egress, verdict, ..Listener::default() });
            kept.len() - 1
        });
        for listener in folded {
            kept[position].fold_clients(&listener);
            kept[position].ingress_bytes += listener.ingress_bytes;
            kept[position].egress.merge(&listener.egress);
            let mut seen = kept[position].seen.clone();
            seen.merge(&listener.seen);
            kept[position].set_seen(seen);
            kept[position].flows.extend(listener.flows);
        }
        kept[position].flows = merge_flows(std::mem::take(&mut kept[position].flows));
        kept[position].egress = kept[position].egress.with_ratios();
        report.listeners = kept;
        for of in report.page_cache.iter_mut().flat_map(|cache| &mut cache.listeners) {
            if matches!(&of.port, Some(LocalPort::Port(port)) if refused.contains(port)) {
                (of.port, of.name) = (Some(LocalPort::Entry(OTHER)), Some(OTHER.to_owned()));
            }
        }
        let renamed = |port: &LocalPort| match port {
            LocalPort::Port(port) if refused.contains(port) => LocalPort::Entry(OTHER),
            port => port.clone(),
        };
        if let Some(latency) = &mut report.latency {
            latency.rename(renamed);
        }
        if let Some(order) = &mut report.order {
            order.rename(renamed);
        }
        report.transfers = fold_transfers(std::mem::take(&mut report.transfers), &refused);
        self.folded_listeners.len() as u64
    }
}

/// Flows of several listeners as those of one.
fn merge_flows(flows: Vec<Flow>) -> Vec<Flow> {
    let mut merged: BTreeMap<(&str, Option<Arc<str>>), Flow> = BTreeMap::new();
    for flow in flows {
        match merged.get_mut(&(flow.from, flow.topic.clone())) {
            Some(sum) => {
                sum.zero_copy_bytes += flow.zero_copy_bytes;
                sum.copied_bytes += flow.copied_bytes;
                sum.read_bytes += flow.read_bytes;
                // By two listeners for two reasons.
                sum.reason = match (sum.reason, flow.reason) {
                    (Some(ours), Some(theirs)) if ours != theirs => Some("unknown"),
                    (ours, theirs) => ours.or(theirs),
                };
            }
            None => drop(merged.insert((flow.from, flow.topic.clone()), flow)),
        }
    }
    let mut flows: Vec<_> = merged.into_values().collect();
    flows.sort_by_key(|flow| std::cmp::Reverse(flow.zero_copy_bytes + flow.copied_bytes));
    flows
}

fn fold_transfers(transfers: Vec<Transfer>, refused: &BTreeSet<u16>) -> Vec<Transfer> {
    let mut folded: BTreeMap<(&str, &str, &str, Option<LocalPort>, bool), Transfer> = BTreeMap::new();
    for mut transfer in transfers {
        if matches!(&transfer.local_port, Some(LocalPort::Port(port)) if refused.contains(port)) {
            transfer.local_port = Some(LocalPort::Entry(OTHER));
        }
        let key =
            (transfer.syscall, transfer.source, transfer.sink, transfer.local_port.clone(), transfer.msg_zerocopy);
        match folded.get_mut(&key) {
            Some(sum) => sum.merge(&transfer),
            None => {
                folded.insert(key, transfer);
            }
        }
    }
    let mut transfers: Vec<_> = folded.into_values().collect();
    transfers.sort_by_key(|transfer| std::cmp::Reverse(transfer.bytes));
    transfers
}
