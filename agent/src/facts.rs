//! What is known of a process from outside the counts: gathered for the Report, from the process and from what it runs.

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    kafka,
    machine::{self, HeapFlags, Place, Sources, Subject},
    probe::Probe,
    report::{Attach, Facts, KafkaTarget, KnownListener, Target},
    residency::Scanner,
    target::{self, Process},
};

/// What can be known of a process beside its calls.
#[must_use]
pub fn gather(proc: &Path, process: &Process) -> Facts {
    let mut facts = Facts {
        target: Target { pid: process.pid, name: process.comm.clone(), command: process.command.clone(), kafka: None },
        listeners: Vec::new(),
        log_dir_inodes: Default::default(),
        subject: Subject {
            pid: process.pid,
            places: Vec::new(),
            heap_flags: process.is_jvm.then(|| HeapFlags::of(&process.command_line)),
            java_version: target::java_version(proc, process.pid),
        },
        machine: None,
        disk_read_bytes: None,
        residency: None,
        slow: Duration::ZERO,
        io_uring: target::io_uring_in_use(proc, process.pid),
        kernel_tls: target::kernel_tls_connections(proc, process.pid),
        compat: process.compat,
        problems: Vec::new(),
    };
    if kafka::detect(process) {
        let broker = kafka::broker(proc, process);
        facts.target.name = broker.node_id.map_or_else(|| "kafka".to_owned(), |id| format!("kafka broker {id}"));
        facts.listeners = broker
            .listeners
            .iter()
            .map(|l| KnownListener {
                port: l.port,
                name: l.name.clone(),
                protocol: l.protocol.clone(),
                used_by: l.used_by,
            })
            .collect();
        facts.log_dir_inodes = broker.log_dirs.iter().filter_map(|dir| dir.inode).collect();
        facts.subject.places =
            broker.log_dirs.iter().map(|dir| Place { path: dir.path.clone(), mount_id: dir.mount_id }).collect();
        facts.target.kafka = Some(KafkaTarget {
            node_id: broker.node_id,
            cluster_id: broker.cluster_id,
            version: broker.version,
            config: broker.config,
            settings: broker.settings,
            log_dirs: broker.log_dirs.into_iter().map(|dir| dir.path).collect(),
        });
        facts.problems = broker.problems;
    }
    facts
}

/// Bytes that a process has read from disks since it began (`read_bytes` in `/proc/PID/io`, Documentation/filesystems/proc.rst,
/// 3.3); `None` where that can't be seen.
#[must_use]
pub fn disk_read_bytes(proc: &Path, pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(proc.join(pid.to_string()).join("io")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("read_bytes:")?.trim().parse().ok())
}

/// Looks how much of the logs is in memory, for so long at most. What is no broker, or can't be seen, is left as it is.
pub fn look_at_logs(proc: &Path, facts: &mut Facts, time: Duration) {
    if facts.subject.places.is_empty() {
        return;
    }
    let log_dirs = machine::log_dirs(&Sources::new(proc), &facts.subject);
    if let Ok(scanner) = Scanner::new(proc, facts.subject.pid, &log_dirs) {
        facts.residency = Some(Arc::new(scanner.finish(time)));
    }
}

/// Looks at what the process runs on: what changes from moment to moment is then as it is now.
pub fn look_at_machine(proc: &Path, facts: &mut Facts) {
    facts.machine = Some(machine::look(&Sources::new(proc), &facts.subject));
}

/// How the kernel is hooked.
#[must_use]
pub fn attach(probe: &Probe) -> Attach {
    Attach {
        leg: probe.leg().name().to_owned(),
        reason: probe.reason().to_owned(),
        seconds: probe.attached_in().as_secs_f64(),
        detach_seconds: None,
    }
}
