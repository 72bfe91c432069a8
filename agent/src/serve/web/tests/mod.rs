//! Real connections to real servers, on 127.0.0.1.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::cast_possible_truncation)]

mod authentication;
mod certificates;
mod configuration;
mod encryption;
mod hostile;
mod plain;
mod reload;
mod support;
