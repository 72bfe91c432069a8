//! What the targets run on, and what could be better.

use super::{
    View,
    metrics::{self, Metric},
    text::Text,
};
use crate::machine::{Cgroup, Java, LogDir, Machine, Memory};

/// Kinds of bytes that a thing has, with the words for them.
type Kinds<T> = &'static [(&'static str, fn(&T) -> Option<u64>)];

const HOST: Kinds<Memory> = &[
    ("total", |memory| Some(memory.total_bytes)),
    ("free", |memory| Some(memory.free_bytes)),
    ("page_cache", |memory| Some(memory.page_cache_bytes)),
    ("anonymous", |memory| Some(memory.anonymous_bytes)),
    ("shared", |memory| Some(memory.shared_bytes)),
    ("kernel", |memory| Some(memory.kernel_bytes)),
    ("huge_pages", |memory| Some(memory.huge_pages_bytes)),
    ("dirty", |memory| Some(memory.dirty_bytes)),
    ("writeback", |memory| Some(memory.writeback_bytes)),
    ("swap_used", |memory| Some(memory.swap_used_bytes)),
];
const GROUP: Kinds<Cgroup> = &[
    ("limit", |group| group.limit_bytes),
    ("used", |group| group.used_bytes),
    ("page_cache", |group| group.page_cache_bytes),
    ("anonymous", |group| group.anonymous_bytes),
    ("dirty", |group| group.dirty_bytes),
    ("writeback", |group| group.writeback_bytes),
];
const HEAP: Kinds<Java> = &[
    ("max", |java| java.max_heap_bytes),
    ("committed", |java| java.heap_committed_bytes),
    ("used", |java| java.heap_used_bytes),
];

pub(super) fn render(text: &mut Text<'_>, views: &[&View]) {
    text.begin(&metrics::ADVICE);
    for view in views {
        for advice in &view.report.advice {
            text.count(&metrics::ADVICE, &[&view.name, advice.id], 1);
        }
    }
    text.begin(&metrics::HOST_MEMORY);
    // All targets are on one host.
    if let Some(memory) = views.iter().copied().filter_map(machine).find_map(|machine| machine.memory.as_ref()) {
        for (kind, bytes) in HOST {
            if let Some(bytes) = bytes(memory) {
                text.count(&metrics::HOST_MEMORY, &[kind], bytes);
            }
        }
    }
    kinds(text, &metrics::CGROUP_MEMORY, views, GROUP, |machine| machine.cgroup.as_ref());
    kinds(text, &metrics::JAVA_HEAP, views, HEAP, |machine| machine.java.as_ref());
    of_each(text, &metrics::CACHE_ROOM, views, |machine| machine.cache_room_bytes);
    of_each(text, &metrics::SWAPPED, views, |machine| machine.own_memory.as_ref().map(|own| own.swapped_bytes));
    text.begin(&metrics::LOG_DIR_INFO);
    for view in views {
        for dir in machine(view).map(|machine| machine.log_dirs.as_slice()).unwrap_or_default() {
            log_dir(text, &view.name, dir);
        }
    }
    text.begin(&metrics::SETTING_INFO);
    for view in views.iter().filter(|view| machine(view).is_some()) {
        let kafka = view.report.target.kafka.as_ref();
        for setting in kafka.map(|kafka| kafka.settings.as_slice()).unwrap_or_default() {
            text.count(&metrics::SETTING_INFO, &[&view.name, setting.key, &setting.value], 1);
        }
    }
}

fn machine(view: &View) -> Option<&Machine> {
    view.report.machine.as_ref()
}

fn kinds<T>(text: &mut Text<'_>, metric: &Metric, views: &[&View], kinds: Kinds<T>, of: fn(&Machine) -> Option<&T>) {
    text.begin(metric);
    for view in views {
        let Some(thing) = machine(view).and_then(of) else { continue };
        for (kind, bytes) in kinds {
            if let Some(bytes) = bytes(thing) {
                text.count(metric, &[&view.name, kind], bytes);
            }
        }
    }
}

fn of_each(text: &mut Text<'_>, metric: &Metric, views: &[&View], bytes: impl Fn(&Machine) -> Option<u64>) {
    text.begin(metric);
    for view in views {
        if let Some(bytes) = machine(view).and_then(&bytes) {
            text.count(metric, &[&view.name], bytes);
        }
    }
}

fn log_dir(text: &mut Text<'_>, target: &str, dir: &LogDir) {
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    let raid = dir.block.iter().find_map(|device| device.raid_level.clone()).or_else(|| dir.data_profile.clone());
    let disk = dir.block.last();
    let rotational = disk.and_then(|disk| disk.rotational).map(|turns| turns.to_string()).unwrap_or_default();
    let values = [
        dir.path.clone(),
        known(&dir.file_system),
        known(&dir.source),
        known(&dir.mount_options),
        dir.network.map(|network| network.to_string()).unwrap_or_default(),
        raid.unwrap_or_default(),
        rotational,
        disk.and_then(|disk| disk.scheduler.clone()).unwrap_or_default(),
    ];
    let values: Vec<&str> = std::iter::once(target).chain(values.iter().map(String::as_str)).collect();
    text.count(&metrics::LOG_DIR_INFO, &values, 1);
}
