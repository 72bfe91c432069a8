//! The service: HTTP, and what it answers. No request makes it allocate without bound: heads are small and bodies are
//! not read, connections and renders at the same time are few, and who does not read its answer is let go.

mod http;
mod site;
pub mod web;

pub use http::{Limits, Response, WebStats, serve};
pub use site::{Site, Stats};
