//! Rules and the scrape job, as Prometheus's own `promtool` sees them.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

use crate::{
    command::{quietly, root, run},
    test::tally::Tally,
};

fn yaml_files(folder: &str) -> anyhow::Result<Vec<PathBuf>> {
    let folder = root().join("dashboards/prometheus").join(folder);
    let files = std::fs::read_dir(&folder).with_context(|| format!("{} can't be read", folder.display()))?;
    let mut files = files.map(|file| Ok(file?.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.sort();
    Ok(files)
}

/// Unit tests of a file. promtool moves its samples to blocks while it answers; seen once on a busy machine: a query over a
/// week that came in between found nothing. What is wrong with a rule is wrong each time.
fn unit_tests(file: &Path) -> anyhow::Result<()> {
    const TRIES: u32 = 3;
    for attempt in 1.. {
        match run(Command::new("promtool").args(["test", "rules"]).arg(file)) {
            Err(error) if attempt < TRIES => println!("{error:#}; once more"),
            result => return result,
        }
    }
    Ok(())
}

/// Checks and unit tests of the rules, and that a rule with a fault does not pass.
pub(in crate::test) fn rules() -> anyhow::Result<Tally> {
    let promtool = || Command::new("promtool");
    let config = root().join("dashboards/prometheus/prometheus.yml");
    run(promtool().args(["check", "config"]).arg(config))?;
    run(promtool().args(["check", "rules"]).args(yaml_files("rules")?))?;
    for test in yaml_files("tests")? {
        unit_tests(&test)?;
    }

    // The same tests, with an alert that never fires: they must notice.
    let folder = tempfile::tempdir()?;
    for name in ["rules", "tests"] {
        std::fs::create_dir(folder.path().join(name))?;
        for file in yaml_files(name)? {
            let text = std::fs::read_to_string(&file)?;
            let faulty = text.replace("zctrace_target_up == 0", "zctrace_target_up == 7");
            std::fs::write(folder.path().join(name).join(file.file_name().context("a file without a name")?), faulty)?;
        }
    }
    let noticed = quietly(promtool().args(["test", "rules"]).arg(folder.path().join("tests/health.yml"))).is_err();
    anyhow::ensure!(noticed, "the tests of the rules pass although an alert can't fire");
    Ok(Tally { passed: 4, failed: 0 })
}
