//! The service: its configuration file ([`config`]), HTTP ([`web`]), and what it answers ([`Pages`]).

pub mod clock;
pub mod config;
pub mod memory;
mod pages;
mod small_file;
pub mod web;

pub use pages::{ConfigStats, Pages, Stats};
