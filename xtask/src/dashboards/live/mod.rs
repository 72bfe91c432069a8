//! The dashboards on real data: a Kafka broker under load, `zctrace serve`, and a Prometheus with the shipped job and
//! rules. Queries are asked as Grafana asks them.

mod prometheus;
mod query;
mod stack;
mod variables;

pub(crate) use prometheus::Prometheus;
pub(crate) use query::{Answer, Span, ask_all};
pub(crate) use stack::Stack;
pub(crate) use variables::{Chosen, choose_all};
