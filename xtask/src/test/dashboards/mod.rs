//! Dashboards, rules and alerts, with the programs that read them.

mod chain;
mod rules;
mod types;

pub(super) use chain::chain;
pub(super) use rules::rules;
pub(super) use types::types;
