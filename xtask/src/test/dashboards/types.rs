//! Dashboards beside Grafana's published types, and the compose file beside the published schema.

use anyhow::Result;

use crate::{
    command::{root, run},
    dashboards::FOLDER,
    node::Programs,
    test::tally::Tally,
};

/// Both, with seeded faults that must be found.
pub(in crate::test) fn types() -> Result<Tally> {
    let programs = Programs::of("check")?;
    run(programs.node("types.mjs").arg(root().join(FOLDER)))?;
    run(programs.node("compose.mjs").arg(root().join("dashboards/compose.yaml")))?;
    Ok(Tally { passed: 2, failed: 0 })
}
