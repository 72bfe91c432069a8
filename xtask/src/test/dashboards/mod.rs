//! Dashboards, rules and alerts, with the programs that read them.

mod chain;
mod rules;

pub(super) use chain::chain;
pub(super) use rules::rules;
