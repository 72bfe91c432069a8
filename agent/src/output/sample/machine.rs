//! What a broker runs on, and its logs in memory.

use super::*;

/// Two partitions, of one of which only the newest is in memory.
pub(in crate::output) fn residency() -> Residency {
    let partition =
        |topic: &str, segments, [active_bytes, active_resident_bytes, older_bytes, older_resident_bytes]: [u64; 4]| {
            Partition {
                topic: topic.into(),
                partition: 0,
                segments,
                active_bytes,
                active_resident_bytes,
                older_bytes,
                older_resident_bytes,
            }
        };
    Residency {
        complete: false,
        at_unix_seconds: 1_767_225_600,
        partitions: vec![
            partition("clicks", 1, [1_048_576, 1_048_576, 0, 0]),
            partition("orders", 3, [524_288_000, 524_288_000, 2_147_483_648, 104_857_600]),
        ],
        unreadable: 2,
        skipped: vec!["/var/lib/kafka/b".to_owned()],
    }
}

pub(super) fn cache_use(read: u64, asked: u64, ahead: u64) -> CacheUse {
    let cached = read.saturating_sub(asked + ahead);
    #[allow(clippy::cast_precision_loss)]
    let hit_ratio = (read > 0).then(|| cached as f64 / read as f64);
    CacheUse { read_bytes: read, asked_bytes: asked, read_ahead_bytes: ahead, hit_ratio }
}

pub(super) fn listener_cache(port: Option<LocalPort>, name: Option<&str>, cache: CacheUse) -> ListenerCache {
    ListenerCache { port, name: name.map(str::to_owned), cache }
}

/// A broker's machine: logs on a RAID 10 of disks that turn, and on another machine.
pub(in crate::output) fn machine() -> Machine {
    let text = |text: &str| Some(text.to_owned());
    let disk = |name: &str, number: &str| BlockDevice {
        name: name.to_owned(),
        device: number.to_owned(),
        depth: 1,
        rotational: Some(true),
        scheduler: text("mq-deadline"),
        read_ahead_bytes: Some(131_072),
        ..BlockDevice::default()
    };
    let array = BlockDevice {
        name: "md0".to_owned(),
        device: "9:0".to_owned(),
        raid_level: text("raid10"),
        raid_disks: Some(2),
        raid_missing: Some(0),
        ..BlockDevice::default()
    };
    Machine {
        memory: Some(Memory {
            total_bytes: 33_554_432_000,
            free_bytes: 419_430_400,
            page_cache_bytes: 8_388_608_000,
            anonymous_bytes: 23_068_672_000,
            shared_bytes: 10_485_760,
            kernel_bytes: 1_048_576_000,
            huge_pages_bytes: 0,
            dirty_bytes: 83_886_080,
            writeback_bytes: 4_194_304,
            swap_total_bytes: 2_147_483_648,
            swap_used_bytes: 1_048_576,
            swappiness: Some(60),
            dirty_background_ratio: Some(10),
            dirty_ratio: Some(20),
        }),
        own_memory: Some(OwnMemory { anonymous_bytes: 22_548_578_304, swapped_bytes: 1_048_576 }),
        cgroup: Some(Cgroup {
            version: 2,
            path: "/system.slice/kafka.service".to_owned(),
            limit_bytes: Some(25_769_803_776),
            used_bytes: Some(25_769_799_680),
            page_cache_bytes: Some(2_097_152_000),
            anonymous_bytes: Some(22_548_578_304),
            dirty_bytes: Some(83_886_080),
            writeback_bytes: Some(4_194_304),
            limit_hits: Some(12_041),
        }),
        cache_room_bytes: Some(2_097_156_096),
        java: Some(Java {
            version: text("21.0.4"),
            max_heap_bytes: Some(21_474_836_480),
            max_heap_from: text("-Xmx20g"),
            heap_committed_bytes: Some(21_474_836_480),
            heap_used_bytes: Some(9_663_676_416),
            collector: text("G1 young collection pauses"),
        }),
        log_dirs: vec![
            LogDir {
                path: "/var/lib/kafka/a".to_owned(),
                file_system: text("xfs"),
                source: text("/dev/md0"),
                mount_options: text("rw,noatime"),
                device: text("9:0"),
                network: Some(false),
                block: vec![array, disk("sdb", "8:16"), disk("sdc", "8:32")],
                data_profile: None,
            },
            LogDir {
                path: "/var/lib/kafka/b".to_owned(),
                file_system: text("nfs4"),
                source: text("store:/kafka"),
                mount_options: text("rw,vers=4.2"),
                device: text("0:53"),
                network: Some(true),
                block: Vec::new(),
                data_profile: None,
            },
        ],
    }
}
