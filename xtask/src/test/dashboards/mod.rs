//! Dashboards, rules and alerts, with the programs that read them.

mod bad_days;
mod chain;
mod rules;
mod types;

pub(super) use bad_days::bad_days;
pub(super) use chain::chain;
pub(super) use rules::rules;
pub(super) use types::types;
