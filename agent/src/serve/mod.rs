//! The service: HTTP ([`web`]), and what it answers ([`Pages`]).

mod pages;
pub mod web;

pub use pages::{Pages, Stats};
