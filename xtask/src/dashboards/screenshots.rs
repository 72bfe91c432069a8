//! `cargo xtask screenshots`: the dashboards on a real broker, drawn by Grafana's published components in Chromium.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{
    all,
    live::{Answer, Span, Stack, ask_all, choose_all},
};
use crate::{
    command::{find, install, root, run},
    node::Programs,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Keep Prometheus's answers in this folder, and draw from them if they are there: for work on the drawing
    #[arg(long, value_name = "FOLDER")]
    answers: Option<PathBuf>,
}

/// Where all pictures go; the best are copied to [`IMAGES`].
const PICTURES: &str = "target/screenshots";
const IMAGES: &str = "docs/images";
/// Pictures of the documentation.
const SHOWN: [(&str, &str); 4] = [
    ("fleet-dark-top.png", "fleet-dark.png"),
    ("fleet-light-row-1.png", "fleet-light.png"),
    ("broker-dark-row-4.png", "broker-calls-dark.png"),
    ("topic-light-top.png", "topic-light.png"),
];
/// How long there is load before the pictures; less is shown, since rates need some scrapes first.
const LOAD: Duration = Duration::from_secs(270);
const SHOWN_TIME: u64 = 180;
/// The scrape interval that the shipped data source says, in seconds.
const DATA_SOURCE_INTERVAL: u64 = 15;

pub(crate) fn run_screenshots(options: &Options) -> Result<()> {
    if find("chromium").is_none() {
        install(&["chromium"])?;
    }
    install(&["prometheus", "fonts-dejavu-core"])?;
    let programs = Programs::of("draw")?;
    let pictures = root().join(PICTURES);
    std::fs::create_dir_all(&pictures)?;
    let temporary = tempfile::tempdir()?;
    let folder = options.answers.as_deref().unwrap_or(temporary.path());
    let files: Vec<_> =
        all().iter().map(|board| folder.join(format!("{}.json", board["uid"].as_str().unwrap_or("x")))).collect();
    if !files.iter().all(|file| file.is_file()) {
        std::fs::create_dir_all(folder)?;
        record(&files)?;
    }
    let mut draw = programs.node("draw.mjs");
    draw.arg(find("chromium").context("chromium is not in PATH")?).args(&files).arg("--").arg(&pictures);
    run(&mut draw)?;
    std::fs::create_dir_all(root().join(IMAGES))?;
    for (picture, image) in SHOWN {
        copy(&pictures.join(picture), &root().join(IMAGES).join(image))?;
    }
    println!("all pictures are in {}: look at them", pictures.display());
    Ok(())
}

fn copy(picture: &Path, image: &Path) -> Result<()> {
    let bytes = std::fs::copy(picture, image).with_context(|| format!("{} can't be copied", picture.display()))?;
    ensure!(bytes < 300_000, "{} has {bytes} bytes: too many for the repository", image.display());
    println!("{}", image.display());
    Ok(())
}

/// A dashboard and Prometheus's answers, each into its file.
fn record(files: &[PathBuf]) -> Result<()> {
    println!("Kafka, zctrace and Prometheus run under load for {} s", LOAD.as_secs());
    let stack = Stack::start()?;
    stack.under_load(LOAD, || {
        let span = Span { scrape: DATA_SOURCE_INTERVAL, ..Span::last(SHOWN_TIME, 5)? };
        for (board, file) in all().iter().zip(files) {
            let (chosen, _) = choose_all(board, &stack.prometheus, &span)?;
            let answers = ask_all(board, &stack.prometheus, &chosen, &span)?;
            let answers: Vec<Value> = answers.iter().map(Answer::json).collect();
            let shown = json!({"start": span.start, "end": span.end, "step": span.step});
            std::fs::write(file, json!({"board": board, "answers": answers, "span": shown}).to_string())?;
        }
        Ok(())
    })
}
