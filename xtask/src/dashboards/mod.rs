//! `cargo xtask dashboards`: writes Grafana's dashboards from the short code here.
//!
//! A dashboard is a file of its own ([`fleet`], [`broker`], [`topic`]); what panels have in common is in the builders
//! beside them. The JSON is committed, and held in step by a test.

mod board;
mod broker;
mod cache;
#[cfg(test)]
mod checks;
mod colour;
mod fleet;
mod health;
mod latency;
pub(crate) mod live;
mod machine;
mod order;
mod panel;
mod query;
pub(crate) mod screenshots;
mod table;
mod topic;
mod variable;

use std::path::PathBuf;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::command::root;

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Only compare: fail where a committed dashboard is not what the code gives
    #[arg(long)]
    check: bool,
}

/// Where the JSON lies, from the root of the checkout.
pub(crate) const FOLDER: &str = "dashboards/grafana";

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    for (path, text) in files()? {
        if options.check {
            let committed = std::fs::read_to_string(&path).unwrap_or_default();
            if committed != text {
                bail!("{} is not what xtask/src/dashboards gives: run `cargo xtask dashboards`", path.display());
            }
        } else {
            std::fs::write(&path, text).with_context(|| format!("{} could not be written", path.display()))?;
            println!("{}", path.display());
        }
    }
    Ok(())
}

/// All dashboards, in the order in which they are read.
pub(crate) fn all() -> [Value; 3] {
    [fleet::board().json(), broker::board().json(), topic::board().json()]
}

fn files() -> anyhow::Result<Vec<(PathBuf, String)>> {
    let folder = root().join(FOLDER);
    let file = |board: Value| {
        let uid = board["uid"].as_str().context("a dashboard has no uid")?.to_owned();
        Ok((folder.join(format!("{uid}.json")), serde_json::to_string_pretty(&board)? + "\n"))
    };
    all().into_iter().map(file).collect()
}
