//! How much of the logs is in memory: looked at a few files at a time, without reading any of them.
//!
//! | module | what it does |
//! |---|---|
//! | [`pages`] | how much of one file is in memory |

pub mod pages;
