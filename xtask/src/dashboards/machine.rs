//! The part of the broker's dashboard that is about what it runs on: memory, disks, and what could be better.

use super::{
    colour::{COPIED, UNKNOWN},
    panel::{Panel, unit},
    query::{FLEET, TARGET, and},
    table::Table,
};

/// Who has the memory, and on what the logs lie.
pub(super) fn machine() -> Vec<Panel> {
    let host = |kinds: &str| format!("sum by (kind) (zctrace_host_memory_bytes{{{}}})", and(FLEET, kinds));
    let last = |metric: &str| format!("max by (target) ({metric}{{{TARGET}}})");
    let by_kind = |metric: &str| format!("max by (target, kind) ({metric}{{{TARGET}}})");
    let dir = "target, path, file_system, source, options, network, raid, rotational, scheduler";
    vec![
        Panel::lines(
            "Memory of the host",
            "Who has the memory of the chosen hosts. Normal for a Kafka host: most of it is page cache, from which consumers \
             are served. Anonymous memory is heaps.",
            unit::BYTES,
        )
        .query(&host("kind=~\"page_cache|free|anonymous|shared|kernel|huge_pages\""), "{{kind}}")
        .stacked()
        .nothing("Left out, or not seen yet")
        .size(7, 9),
        Panel::lines(
            "Not yet on disk",
            "Bytes of the chosen hosts that were changed in memory and are not on disk yet, and those on their way. Normal: \
             rises and falls. If it only rises, the disks take less than is produced, and producers will have to wait.",
            unit::BYTES,
        )
        .query(&host("kind=~\"dirty|writeback|swap_used\""), "{{kind}}")
        .nothing("Left out, or not seen yet")
        .size(7, 9),
        Panel::lines(
            "Heap, limit, and room for the page cache",
            "The Java heap (largest, taken, in use at the last collection), the control group's limit and use, and the \
             page cache's room. In a container the page cache counts against the limit.",
            unit::BYTES,
        )
        .query(&by_kind("zctrace_java_heap_bytes"), "heap {{kind}} of {{target}}")
        .query(&by_kind("zctrace_cgroup_memory_bytes"), "group {{kind}} of {{target}}")
        .query(&last("zctrace_page_cache_room_bytes"), "room for the page cache of {{target}}")
        .nothing("Left out, or not seen yet")
        .size(10, 9),
        Panel::stat(
            "In swap",
            "Bytes of the broker's own memory that are in swap. Normal: 0. A collection of garbage reads all of it back.",
            unit::BYTES,
        )
        .query(&format!("sum(zctrace_swapped_bytes{{{TARGET}}})"), "")
        .fixed(COPIED)
        .nothing("Left out, or not seen yet")
        .size(8, 6),
        Panel::bars(
            "What could be better",
            "The advice that zctrace has for the chosen brokers, and for how many of them. `zctrace --pid` and the page of \
             `zctrace serve` say what shows it and what to do.",
            unit::COUNT,
        )
        .query(&format!("sum by (id) (zctrace_advice{{{TARGET}}})"), "{{id}}")
        .fixed(UNKNOWN)
        .nothing("Nothing")
        .size(16, 6),
        Table::new(
            "Log directories",
            "What the log directories lie on. Normal: ext4 or xfs on local disks, one each or RAID 10. Called out: network \
             file systems, RAID 5 and 6, a container's own layer.",
            &[("target", "Broker"), ("path", "Directory")],
        )
        .info(
            &format!("group by ({dir}) (zctrace_log_dir_info{{{TARGET}}})"),
            &[
                ("file_system", "File system"),
                ("source", "Source"),
                ("options", "Mount options"),
                ("network", "Network"),
                ("raid", "RAID"),
                ("rotational", "Rotational"),
                ("scheduler", "Scheduler"),
            ],
        )
        .size(24, 6)
        .or("No log directory"),
    ]
}
