//! Dashboards, rules and alerts, with the programs that read them.

mod rules;

pub(super) use rules::rules;
