//! Bad days, from a small exporter of our own: no targets, an idle broker, odd names, two versions, a renamed listener;
//! and a thousand brokers.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};

use crate::{
    dashboards::{
        all,
        live::{Answer, Chosen, Prometheus, Span, ask_all, choose_all},
    },
    test::tally::Tally,
};

/// Answers every request with what `page` gives for the seconds since it started.
fn exporter(page: fn(f64) -> String) -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    let started = Instant::now();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().filter_map(Result::ok) {
            let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
            while lines.next().is_some_and(|line| !line.is_empty()) {}
            let body = page(started.elapsed().as_secs_f64());
            let head = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nConnection: close\r\n";
            // A scrape that was given up is asked again.
            let _ = write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
    });
    Ok(address)
}

/// A zctrace that watches nothing.
fn without_targets(_: f64) -> String {
    "zctrace_build_info{version=\"0.1.0\",arch=\"x86_64\"} 1\nzctrace_scrape_duration_seconds 0.001\n".to_owned()
}

/// An idle broker: a few bytes of heartbeats, all copied. An older zctrace, without `zctrace_listener_info`.
fn idle(seconds: f64) -> String {
    let copied = (seconds * 300.0).floor();
    format!(
        "zctrace_build_info{{version=\"0.0.9\",arch=\"x86_64\"}} 1\n\
         zctrace_target_info{{target=\"kafka-2\",pid=\"7\"}} 1\n\
         zctrace_target_up{{target=\"kafka-2\"}} 1\n\
         zctrace_egress_bytes_total{{target=\"kafka-2\",listener=\"PLAINTEXT\",port=\"9092\",path=\"zero_copy\"}} 0\n\
         zctrace_egress_bytes_total{{target=\"kafka-2\",listener=\"PLAINTEXT\",port=\"9092\",path=\"copied\"}} {copied}\n\
         zctrace_carried_file_bytes_total{{target=\"kafka-2\",listener=\"PLAINTEXT\",port=\"9092\"}} 0\n"
    )
}

const RENAMED_AT: f64 = 15.0;
const ODD: [&str; 5] = ["a.b", "axb", "grüße-世界", "say \"hi\"", "back\\slash"];

/// A busy broker with odd topics, whose listener is renamed while it is watched.
fn odd(seconds: f64) -> String {
    let bytes = (seconds * 1e6).floor();
    let listener = if seconds < RENAMED_AT { "OLD" } else { "NEW" };
    let mut page = format!(
        "zctrace_build_info{{version=\"0.1.0\",arch=\"x86_64\"}} 1\n\
         zctrace_target_info{{target=\"kafka-3\",pid=\"8\",cluster_id=\"c\"}} 1\n\
         zctrace_target_up{{target=\"kafka-3\"}} 1\n\
         zctrace_listener_info{{target=\"kafka-3\",listener=\"{listener}\",port=\"9092\",protocol=\"PLAINTEXT\"}} 1\n\
         zctrace_egress_bytes_total{{target=\"kafka-3\",listener=\"{listener}\",port=\"9092\",path=\"zero_copy\"}} {bytes}\n\
         zctrace_egress_bytes_total{{target=\"kafka-3\",listener=\"{listener}\",port=\"9092\",path=\"copied\"}} 0\n\
         zctrace_carried_file_bytes_total{{target=\"kafka-3\",listener=\"{listener}\",port=\"9092\"}} 0\n"
    );
    for topic in ODD.map(|topic| topic.replace('\\', "\\\\").replace('"', "\\\"")) {
        page += &format!(
            "zctrace_topic_bytes_total{{target=\"kafka-3\",topic=\"{topic}\",partition=\"0\",path=\"copied_read\"}} {bytes}\n"
        );
        page += &format!(
            "zctrace_topic_bytes_total{{target=\"kafka-3\",topic=\"{topic}\",partition=\"0\",path=\"zero_copy_read\"}} {bytes}\n"
        );
    }
    page
}

/// A thousand brokers, each busier than the one before.
fn crowd(seconds: f64) -> String {
    let mut page = "zctrace_build_info{version=\"0.1.0\",arch=\"x86_64\"} 1\n".to_owned();
    for number in 1..=1000_u32 {
        let (target, at) = (format!("kafka-{number}"), "listener=\"PLAINTEXT\",port=\"9092\"");
        let bytes = (seconds * 1e4 * f64::from(number)).floor();
        page += &format!(
            "zctrace_target_info{{target=\"{target}\",pid=\"{number}\",cluster_id=\"c\"}} 1\n\
             zctrace_target_up{{target=\"{target}\"}} 1\n\
             zctrace_listener_info{{target=\"{target}\",{at},protocol=\"PLAINTEXT\"}} 1\n\
             zctrace_egress_bytes_total{{target=\"{target}\",{at},path=\"zero_copy\"}} {bytes}\n\
             zctrace_egress_bytes_total{{target=\"{target}\",{at},path=\"copied\"}} {bytes}\n\
             zctrace_carried_file_bytes_total{{target=\"{target}\",{at}}} {bytes}\n"
        );
    }
    page
}

/// More rows than this nobody reads, and more lines nobody tells apart.
const READABLE: usize = 50;

/// A Prometheus that scrapes these every second.
fn scraping(exporters: &[SocketAddr]) -> Result<Prometheus> {
    let targets: Vec<_> = exporters.iter().map(|address| format!("'{address}'")).collect();
    Prometheus::start_with(&format!(
        "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: zctrace\n  static_configs:\n  - targets: [{}]\n",
        targets.join(", ")
    ))
}

/// Every query of every dashboard must be answered, whatever is there; returns what was.
fn every_answer(prometheus: &Prometheus, span: &Span, choose: impl Fn(&mut Chosen)) -> Result<Vec<Answer>> {
    let mut answers = Vec::new();
    for board in all() {
        let (mut chosen, _) = choose_all(&board, prometheus, span)?;
        choose(&mut chosen);
        answers.extend(ask_all(&board, prometheus, &chosen, span)?);
    }
    for answer in &answers {
        ensure!(answer.data.is_ok(), "{}: {}\n{:?}", answer.title, answer.query, answer.data);
    }
    Ok(answers)
}

fn of<'a>(answers: &'a [Answer], title: &str) -> Result<&'a Answer> {
    answers.iter().find(|answer| answer.title == title).with_context(|| format!("no panel {title}"))
}

/// All of the days.
pub(in crate::test) fn bad_days() -> Result<Tally> {
    // Nothing is scraped at all, then a zctrace that watches nothing: nothing is wrong, and nothing is claimed.
    let nobody = scraping(&[])?;
    let answers = every_answer(&nobody, &Span::last(60, 5)?, |_| ())?;
    ensure!(answers.iter().filter(|answer| answer.has_data()).all(|answer| answer.title == "Alerts of zctrace"));
    let (bare, quiet, busy) = (exporter(without_targets)?, exporter(idle)?, exporter(odd)?);
    let alone = scraping(&[bare, quiet])?;
    let prometheus = scraping(&[bare, quiet, busy])?;
    let thousand = scraping(&[exporter(crowd)?])?;
    std::thread::sleep(Duration::from_secs(2 * 15));
    let span = Span { scrape: 2, ..Span::last(25, 1)? };

    let answers = every_answer(&alone, &span, |_| ())?;
    for title in ["Zero copy, plaintext", "Zero copy, all", "Zero-copy share", "Copy amplification now"] {
        let answer = of(&answers, title)?;
        ensure!(!answer.has_data(), "an idle broker has {title}: {:?}", answer.data);
    }
    ensure!(of(&answers, "Sent")?.number().is_some_and(|sent| sent > 100.0), "what the idle broker sends is not seen");
    ensure!(of(&answers, "zctrace: up, down")?.number() == Some(2.0), "the one without targets is not seen");

    // Two versions, one of them without the newer metrics; a listener of two names.
    let answers = every_answer(&prometheus, &span, |_| ())?;
    ensure!(of(&answers, "Versions")?.series().len() == 2, "{:?}", of(&answers, "Versions")?.data);
    let share = of(&answers, "Zero copy, plaintext")?.number();
    ensure!(share == Some(1.0), "the share of the one whose protocol is known: {share:?}");
    let by_listener = of(&answers, "Sent, by listener")?;
    for name in ["OLD", "NEW"] {
        ensure!(by_listener.series().iter().any(|one| one["metric"]["listener"] == name), "{name} is not shown");
    }

    // Odd names: all are shown, and each can be chosen by itself (but see dashboards/README.md for quotes).
    let topics = of(&answers, "Topics, most copied first")?;
    for topic in ODD {
        ensure!(topics.series().iter().any(|one| one["metric"]["topic"] == topic), "{topic} is not shown");
    }
    for topic in ODD.iter().filter(|topic| !topic.contains('"')) {
        let answers = every_answer(&prometheus, &span, |chosen| chosen.set("topic", &[topic]))?;
        let shown = of(&answers, "Topics, most copied first")?.series();
        ensure!(shown.len() == 1 && shown[0]["metric"]["topic"] == **topic, "{topic} is chosen, shown is {shown:?}");
    }

    // A thousand brokers: the fleet stays readable, and the largest is first.
    let [fleet, ..] = all();
    let span = Span { scrape: 2, ..Span::last(25, 1)? };
    let (chosen, _) = choose_all(&fleet, &thousand, &span)?;
    let answers = ask_all(&fleet, &thousand, &chosen, &span)?;
    for answer in &answers {
        ensure!(answer.series().len() <= READABLE, "{}: {} series", answer.title, answer.series().len());
    }
    ensure!(of(&answers, "Brokers watched, gone")?.number() == Some(1000.0));
    for (title, count) in [("Brokers that copy most", 20), ("Copied, the ten largest brokers", 10)] {
        let shown = of(&answers, title)?.series();
        let has = |target: &str| shown.iter().any(|one| one["metric"]["target"] == target);
        ensure!(shown.len() == count && has("kafka-1000") && !has("kafka-1"), "{title}: {} rows", shown.len());
    }
    Ok(Tally { passed: 6, failed: 0 })
}
