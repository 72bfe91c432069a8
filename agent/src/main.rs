//! The `zctrace` command: parses and dispatches.
fn main() {
    let pid: u32 = std::env::args().nth(1).unwrap().parse().unwrap();
    let leg = match std::env::args().nth(2).as_deref() {
        Some("tracepoint") => zctrace::probe::LegChoice::Tracepoint,
        _ => zctrace::probe::LegChoice::Raw,
    };
    let t = std::time::Instant::now();
    let mut p = match zctrace::probe::Probe::attach(leg, 1) {
        Ok(p) => p,
        Err(e) => {
            println!("{e}");
            return;
        }
    };
    println!("attach {:?} {}", t.elapsed(), p.reason());
    let slot = p.watch(pid, || Default::default()).unwrap();
    println!("watch {:?}", t.elapsed());
    std::thread::sleep(std::time::Duration::from_secs(2));
    p.stop(slot).unwrap();
    let t = std::time::Instant::now();
    println!("{:#?}", p.snapshot(slot).unwrap());
    println!("snapshot {:?}", t.elapsed());
}
