//! Every metric of a target and of zctrace itself: name, type, help, labels. `docs/metrics.md` is compared with it.

/// Type of a metric in the text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, but for a restart of zctrace.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Buckets, sum and count.
    Histogram,
}

impl Kind {
    /// The word in a `# TYPE` line.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// Its name, unit and `_total` included.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// What it says.
    pub help: &'static str,
    /// Its labels, in their order.
    pub labels: &'static [&'static str],
}

const fn metric(name: &'static str, kind: Kind, help: &'static str, labels: &'static [&'static str]) -> Metric {
    Metric { name, kind, help, labels }
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal)*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric = metric($name, Kind::$kind, $help, &[$($label),*]);)*
        /// All of them, in the order of an exposition.
        pub const METRICS: &[Metric] = &[$($constant),*];
    };
}

metrics! {
    TARGET_INFO: Gauge "zctrace_target_info"
        ["target" "command" "broker_id" "cluster_id" "version" "pid" "container" "pod" "java_version"]
        "A watched target. Always 1; what changes when its process restarts is in the labels of this metric only.";
    TARGET_UP: Gauge "zctrace_target_up" ["target"]
        "1 while a process of the target runs and is watched, 0 after it has ended.";
    TARGET_PROCESSES: Counter "zctrace_target_processes_total" ["target"]
        "Processes of the target that were watched: one more after each restart.";
    TRANSFERS: Counter "zctrace_transfers_total" ["target" "syscall" "source" "sink" "listener" "port"]
        "System calls that moved bytes, by call, endpoints and listener.";
    TRANSFER_BYTES: Counter "zctrace_transfer_bytes_total" ["target" "syscall" "source" "sink" "listener" "port"]
        "Bytes that those calls returned.";
    TRANSFER_SIZE: Histogram "zctrace_transfer_size_bytes" ["target" "syscall" "source" "sink" "le"]
        "Bytes that a call returned.";
    ERRORS: Counter "zctrace_syscall_errors_total" ["target" "syscall" "errno"]
        "System calls that failed. EAGAIN is no fault: there was nothing to take or no room yet.";
    EMPTY: Counter "zctrace_syscall_empty_total" ["target" "syscall"]
        "System calls that succeeded and moved nothing, as at the end of a file or of a connection.";
    EGRESS: Counter "zctrace_egress_bytes_total" ["target" "listener" "port" "path"]
        "Bytes sent through sockets by path: zero_copy (sendfile, splice), copied (from user memory), undetermined (MSG_ZEROCOPY).";
    COPIED_REASON: Counter "zctrace_copied_bytes_total" ["target" "listener" "port" "reason"]
        "Copied egress bytes by why they were copied: tls, headers (and small answers), log_read, file_read, sendfile_refused, remote_segments, unknown.";
    FLOW: Counter "zctrace_listener_topic_bytes_total" ["target" "listener" "port" "topic" "path"]
        "Bytes that left through a listener by whose data they were and path: zero_copy, copied, and read (into memory before). Topics (files), (none) and (other) are no topics.";
    LISTENER_CPU: Counter "zctrace_listener_cpu_seconds_total" ["target" "listener" "port" "mode"]
        "Processor time of the threads that send through a listener, in user space and in the kernel.";
    TARGET_CPU: Counter "zctrace_target_cpu_seconds_total" ["target" "mode"]
        "Processor time of the target's processes since they are watched, in user space and in the kernel.";
    LISTENER_INFO: Gauge "zctrace_listener_info" ["target" "listener" "port" "protocol" "used_by"]
        "A listener whose protocol the broker's configuration says: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; and who connects to it: clients, brokers (followers that replicate), brokers_and_clients, controllers. Always 1.";
    INGRESS: Counter "zctrace_ingress_bytes_total" ["target" "listener" "port"]
        "Bytes received through sockets.";
    CARRIED: Counter "zctrace_carried_file_bytes_total" ["target" "listener" "port"]
        "File bytes that the sending threads had read into memory before they sent: the read half of read + write.";
    ZERO_COPY_RATIO: Gauge "zctrace_zero_copy_ratio" ["target" "listener" "port"]
        "Zero-copy egress bytes over egress bytes in the window. Absent where nothing was sent.";
    COPY_RATIO: Gauge "zctrace_copy_ratio" ["target" "listener" "port"]
        "Copied egress bytes over egress bytes in the window. Absent where nothing was sent.";
    COPY_AMPLIFICATION: Gauge "zctrace_copy_amplification" ["target" "listener" "port"]
        "Bytes moved between kernel and user memory for each byte sent in the window. Absent where nothing was sent.";
    WINDOW: Gauge "zctrace_window_seconds" []
        "Length of the window that the ratios are over.";
    TOPIC_BYTES: Counter "zctrace_topic_bytes_total" ["target" "topic" "partition" "path"]
        "Bytes of log segments by path: zero_copy_read, copied_read, written.";
    FOLDED_TOPICS: Counter "zctrace_folded_topic_partitions_total" ["target"]
        "Topic-partitions whose bytes went to the topic (other) for want of a series, each counted once (up to 100,000).";
    FOLDED_LISTENERS: Counter "zctrace_folded_listeners_total" ["target"]
        "Listeners whose bytes went to the listener (other) for want of series, each counted once.";
    TOPIC_FILLED: Counter "zctrace_topic_page_cache_filled_bytes_total" ["target" "topic" "partition" "kind"]
        "Bytes of pages that came into the page cache while a topic's log was read: asked (within what the call asked for), read_ahead.";
    LISTENER_CACHE_READ: Counter "zctrace_listener_log_read_bytes_total" ["target" "listener" "port"]
        "Bytes read from log segments and sent through a listener's sockets; without a listener what was read and not sent.";
    LISTENER_FILLED: Counter "zctrace_listener_page_cache_filled_bytes_total" ["target" "listener" "port" "kind"]
        "Bytes of pages that came into the page cache for these: asked, read_ahead.";
    FILLED: Counter "zctrace_page_cache_filled_bytes_total" ["target" "kind"]
        "Bytes of pages that a target brought into the page cache: asked and read_ahead (of files that it read), fault (memory-mapped files), other (other calls).";
    DISK_READ: Counter "zctrace_disk_read_bytes_total" ["target"]
        "Bytes that the kernel's own account has the target read from disks (/proc/PID/io).";
    CLIENT_BYTES: Counter "zctrace_client_bytes_total" ["target" "listener" "port" "client" "path"]
        "Bytes of a listener by remote address and path: zero_copy, copied and undetermined (sent to it), received. Client (other): all that have no series. Only with --clients.";
    CALL_DURATION: Histogram "zctrace_call_duration_seconds" ["target" "syscall" "source" "sink" "listener" "port" "le"]
        "How long calls took that moved bytes, waiting included. Only with --latency.";
    SLOW_CALLS: Counter "zctrace_slow_calls_total" ["target" "syscall" "source" "sink" "listener" "port"]
        "Of these, calls that took as long as --slow says. A slow sendfile holds up a network thread. Only with --latency.";
    TOPIC_CALLS: Counter "zctrace_topic_timed_calls_total" ["target" "topic" "path"]
        "Calls that moved bytes of a topic's log and whose duration is known, by path: zero_copy, copied (sent from memory), read (into memory), written. Only with --latency.";
    TOPIC_CALL_SECONDS: Counter "zctrace_topic_call_seconds_total" ["target" "topic" "path"]
        "Their durations, all together.";
    TOPIC_SLOW_CALLS: Counter "zctrace_topic_slow_calls_total" ["target" "topic" "path"]
        "Of these, calls that took as long as --slow says.";
    TOPIC_ORDER: Counter "zctrace_topic_order_bytes_total" ["target" "topic" "partition" "operation" "order"]
        "Bytes of a topic's log by operation (read, append) and by where the call began: sequential (where the last one of its reader or writer ended), random (elsewhere).";
    LOG_CALLS: Counter "zctrace_log_calls_total" ["target" "operation"]
        "Calls that moved bytes of log segments: read, append.";
    LOG_CALL_BYTES: Counter "zctrace_log_call_bytes_total" ["target" "operation"]
        "Bytes that they moved.";
    LOG_JUMPS: Counter "zctrace_log_jumps_total" ["target" "operation"]
        "Of these, calls that began elsewhere than where the last one of their reader or writer ended.";
    SHORT_SENDS: Counter "zctrace_sendfile_short_calls_total" ["target" "listener" "port" "reason"]
        "sendfile calls into sockets that sent less than was asked: send_buffer (it was full), again (it had no room at all), end_of_file, limit (2 GiB), interrupted.";
    SHORT_SEND_BYTES: Counter "zctrace_sendfile_unsent_bytes_total" ["target" "listener" "port" "reason"]
        "Bytes that they were asked for and did not send; what is asked for again counts again.";
    SYNC_DURATION: Histogram "zctrace_sync_duration_seconds" ["target" "syscall" "le"]
        "How long calls took that wait until what was written is on disk: fsync, fdatasync, sync_file_range, msync. Only with --syncs.";
    SYNC_ERRORS: Counter "zctrace_sync_errors_total" ["target" "syscall"]
        "Of these, calls that failed. Only with --syncs.";
    LOG_SIZE: Gauge "zctrace_log_size_bytes" ["target" "segments"]
        "Bytes of log segments: active (those that are written to), older.";
    LOG_RESIDENT: Gauge "zctrace_log_resident_bytes" ["target" "segments"]
        "Of these, bytes in memory.";
    TOPIC_LOG_SIZE: Gauge "zctrace_topic_log_size_bytes" ["target" "topic" "partition"]
        "Bytes of a topic-partition's log.";
    TOPIC_LOG_RESIDENT: Gauge "zctrace_topic_log_resident_bytes" ["target" "topic" "partition"]
        "Of these, bytes in memory.";
    LOG_LOOKED_AT: Gauge "zctrace_log_residency_timestamp_seconds" ["target"]
        "When it was last seen how much of the logs is in memory: the more segments there are, the less often.";
    ADVICE: Gauge "zctrace_advice" ["target" "id"]
        "1 for each thing that could be better, by the word that the report's advice has for it.";
    HOST_MEMORY: Gauge "zctrace_host_memory_bytes" ["kind"]
        "Memory of the host by what has it: total, free, page_cache, anonymous (heaps), shared, kernel, huge_pages, and of these dirty and writeback; swap_used.";
    CGROUP_MEMORY: Gauge "zctrace_cgroup_memory_bytes" ["target" "kind"]
        "Memory of the target's control group: limit, used, and of that page_cache, anonymous, dirty, writeback. The page cache counts against the limit.";
    JAVA_HEAP: Gauge "zctrace_java_heap_bytes" ["target" "kind"]
        "The Java heap: max, committed (taken from the system), used (at the last collection).";
    CACHE_ROOM: Gauge "zctrace_page_cache_room_bytes" ["target"]
        "What the page cache has or could take at once: of the host's and, under a limit, of the control group's, the less.";
    SWAPPED: Gauge "zctrace_swapped_bytes" ["target"]
        "Bytes of the target's own memory that are in swap.";
    LOG_DIR_INFO: Gauge "zctrace_log_dir_info"
        ["target" "path" "file_system" "source" "options" "network" "raid" "rotational" "scheduler"]
        "A log directory and what it lies on, with the options of its mount; rotational and scheduler are of the last device below it. Always 1.";
    SETTING_INFO: Gauge "zctrace_broker_setting_info" ["target" "setting" "value"]
        "A setting of the broker that bears on how it moves bytes, as its configuration sets it. Always 1.";
    LOST_UPDATES: Counter "zctrace_lost_updates_total" ["target"]
        "Updates that found a map full. Their bytes are in the totals, as (other).";
    OTHER_BYTES: Counter "zctrace_other_bytes_total" ["target"]
        "Bytes that are in no listener or file because a map was full.";
    UNKNOWN_ENDPOINT: Counter "zctrace_unknown_endpoint_bytes_total" ["target"]
        "Bytes of calls whose descriptor was closed before they returned.";
    UNKNOWN_LENGTH: Counter "zctrace_unknown_length_calls_total" ["target"]
        "sendmmsg and recvmmsg calls some of whose bytes could not be read and are missing.";
    MISSED_CALLS: Counter "zctrace_missed_calls_total" ["target"]
        "System calls of the host for which the kernel did not run the hook: at most so many of the target's are in no number.";
    MAP_ENTRIES: Gauge "zctrace_map_entries" ["map"]
        "Entries of a map in the kernel.";
    MAP_CAPACITY: Gauge "zctrace_map_capacity" ["map"]
        "The most entries that the map takes.";
    FILES_EVICTED: Counter "zctrace_files_evicted_total" []
        "Files that lay still and left a map that filled up. Their counts are kept.";
    ATTACH_INFO: Gauge "zctrace_attach_info" ["leg" "reason"]
        "How the kernel is hooked. Always 1.";
    ATTACH_SECONDS: Gauge "zctrace_attach_duration_seconds" []
        "How long it took to load and attach the program.";
    SCRAPE_SECONDS: Gauge "zctrace_scrape_duration_seconds" []
        "How long it took to read the maps for this exposition.";
    TARGETS_REFUSED: Counter "zctrace_targets_refused_total" []
        "Processes that could not be watched: the log says why.";
    TARGETS_FORGOTTEN: Counter "zctrace_targets_forgotten_total" []
        "Ended targets whose counters were dropped because there were too many.";
    DISCOVERY_SCANS: Counter "zctrace_discovery_scans_total" []
        "Looks for processes.";
    HTTP_RESPONSES: Counter "zctrace_http_responses_total" ["code"]
        "HTTP requests answered, by the class of the status.";
    HTTP_DENIED: Counter "zctrace_http_requests_denied_total" []
        "HTTP requests refused for want of a right user and password.";
    HTTP_CONNECTIONS: Counter "zctrace_http_connections_total" []
        "HTTP connections accepted.";
    HTTP_CUT: Counter "zctrace_http_connections_cut_total" ["reason"]
        "HTTP connections that were cut or never came to be: timeout (too slow), malformed (no HTTP, or too large a head), tls_handshake, evicted (idle, for others), accept.";
    WEB_RELOADS: Counter "zctrace_web_config_reloads_total" ["result"]
        "Changes of the web configuration file: ok, or failed, where the one before was kept.";
    CONFIG_SUCCESSFUL: Gauge "zctrace_config_last_reload_successful" []
        "Whether the configuration file that was read last is in force: 0 where it was broken and the one before was kept.";
    CONFIG_TAKEN: Gauge "zctrace_config_last_reload_success_timestamp_seconds" []
        "When a configuration file was last read and taken.";
    CONFIG_RELOADS: Counter "zctrace_config_reloads_total" ["result"]
        "Readings of the configuration file on SIGHUP: ok, or failed.";
    CONFIG_RESTART: Gauge "zctrace_config_restart_required" ["setting"]
        "1 for each setting that was changed in the configuration file and changes only when zctrace is started again.";
    LOG_LINES_LOST: Counter "zctrace_log_lines_lost_total" []
        "Log lines that could not be written: the disk is full, or their reader does not take them.";
    CLOCK_SET_BACK: Counter "zctrace_clock_set_back_total" []
        "Times that the host's clock was found set back by more than a second.";
    MEMORY_SHORT: Counter "zctrace_memory_short_total" []
        "Times that memory was refused to zctrace, which then went on with a reserve that it had put by.";
    BUILD_INFO: Gauge "zctrace_build_info" ["version" "arch"]
        "This zctrace. Always 1.";
}
