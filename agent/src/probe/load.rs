//! From the object to programs in the kernel.

use std::{io, sync::OnceLock, thread};

use agent_ebpf::{
    CLIENT_LISTENERS, COUNTERS, ClientOffsets, FILL_WAYS, Features, FillOffsets, LISTENER_WORDS, Offsets, OrderOffsets,
    READER_SETS, SHORT_REASONS, SYNC_CALLS, SyncNumbers, SyscallTable, THREADS,
    syscall::{GENERIC, I386, NOT_COUNTED, SYSCALLS, X86_64},
};
use aya::{
    Btf, Ebpf, EbpfLoader,
    maps::{Map, MapData, MapError},
    programs::ProgramError,
};

use rustix::process::{Resource, Rlimit, setrlimit};

use super::{
    Candidate, Capacity, KernelFacts, Layout, Leg, LegChoice, Missing, Parts, ProbeError, VMLINUX, attach, candidates,
    constants, cut_down,
    error::{chain, missing},
    fills,
    instructions::Instructions,
    kernel, kfunc,
    kprobe_multi::KprobeMulti,
    latency, leg,
    places::Places,
    sync,
    verify::{self, Hook, Wanted},
};

/// The program, built by `cargo xtask bpf` and committed.
pub(super) static OBJECT: &[u8] = aya::include_bytes_aligned!("../../../agent-ebpf/prebuilt/zctrace.bpf.o");

/// The program that finds a process: [`resolve`](super::resolve) asks it.
const RESOLVER: Wanted = Wanted { program: "resolve_target", hook: Hook::Iterator("task") };

/// The version from which on the memory of maps is counted by the control group, not against the memory-lock limit.
const MEMORY_BY_CONTROL_GROUP: (u32, u32) = (5, 11);

/// How much of a verifier's log is shown.
const LOG_LINES: usize = 15;

/// Everything about the kernel that loading takes.
struct Kernel {
    layout: Layout,
    /// See [`Self::types`].
    types: OnceLock<Result<Btf, String>>,
    facts: KernelFacts,
    fetch: bool,
}

impl Kernel {
    fn of_this_machine() -> Result<Self, ProbeError> {
        let layout = Layout::of_this_machine()?;
        let facts = KernelFacts::of_this_machine(&layout);
        Ok(Self { layout, types: OnceLock::new(), facts, fetch: kfunc::has_fetch() })
    }

    /// The types that programs are hooked by: made when they are first asked for.
    fn types(&self) -> Result<&Btf, ProbeError> {
        let types = self.types.get_or_init(|| cut_down::types(&self.layout)).as_ref();
        types.map_err(|reason| ProbeError::NoBtf { path: VMLINUX.to_owned(), reason: reason.clone() })
    }
}

/// The program in the kernel, and what it counts.
pub(super) struct Attached {
    pub(super) ebpf: Ebpf,
    pub(super) links: Vec<KprobeMulti>,
    pub(super) leg: Leg,
    pub(super) reason: String,
    pub(super) parts: Parts,
    pub(super) missing: Missing,
}

pub(super) fn attach(choice: LegChoice, capacity: Capacity, parts: Parts) -> Result<Attached, ProbeError> {
    let loader = thread::Builder::new().spawn(bare_loader);
    let kernel = Kernel::of_this_machine()?;
    let loader = || loader.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(bare_loader);
    thread::scope(|scope| {
        // They are made while the maps are; without a thread, when they are needed.
        let _ = thread::Builder::new().spawn_scoped(scope, || kernel.types().is_ok());
        attach_object(OBJECT, &kernel, loader, choice, capacity, parts)
    })
}

/// Attaches an object to a kernel; `loader` is asked for when it is needed.
fn attach_object(
    object: &[u8],
    kernel: &Kernel,
    loader: impl FnOnce() -> EbpfLoader<'static>,
    choice: LegChoice,
    capacity: Capacity,
    mut parts: Parts,
) -> Result<Attached, ProbeError> {
    let candidates = candidates(choice, &kernel.facts).map_err(|reasons| match choice {
        LegChoice::Tracepoint if !kernel.facts.syscall_tracepoints => ProbeError::NoTracefs,
        _ => ProbeError::NoLeg(reasons),
    })?;
    let page_cache = parts.page_cache.then(|| fills::obstacle(&kernel.layout)).flatten();
    let client_offsets = kernel.layout.client_offsets();
    let clients = parts.clients.and(client_offsets.as_ref().err()).map(ToString::to_string);
    let order = kernel.layout.order_offsets().err().filter(|_| parts.order).map(|error| error.to_string());
    let mut missing = Missing { page_cache, clients, latency: None, order, syncs: None };
    parts.order &= missing.order.is_none();
    parts.clients = parts.clients.filter(|_| client_offsets.is_ok());
    parts.page_cache &= missing.page_cache.is_none();
    let constants = Constants::of(kernel, parts)?;
    let features: Vec<Features> = candidates
        .iter()
        .map(|candidate| {
            let features = kernel::features(&kernel.layout, candidate.leg, &kernel.facts, kernel.fetch);
            let (page_cache, latency) = (u32::from(parts.page_cache), u32::from(parts.latency.is_some()));
            let (clients, order) = (u32::from(parts.clients.is_some()), u32::from(parts.order));
            Features { page_cache, latency, clients, order, ..features }
        })
        .collect();
    raise_memory_limit(&kernel.facts);
    let mut loader = constants.given_to(loader(), capacity, parts);
    let mut object = Instructions::of(object);
    kfunc::link(&mut object, &kernel.layout, kernel.fetch);
    constants.write_into(&mut object);
    let mut refused: Option<(Leg, ProbeError)> = None;
    let mut rejected = None;
    // What the leg before has made and not used.
    let mut made: Option<(&Features, Ebpf)> = None;
    for (candidate, features) in candidates.iter().zip(&features) {
        let mut object = object.clone();
        constants::write(&mut object, features);
        let object = object.object();
        let same = made.take().filter(|(made_for, _)| *made_for == features);
        let result = match same {
            Some((_, ebpf)) => Ok(ebpf),
            None => load(&mut loader, object, features, kernel, capacity),
        };
        let error = match result {
            Ok(mut ebpf) => match hook(&mut ebpf, object, kernel, candidate.leg, parts) {
                Ok(mut hooked) => {
                    let note = format!("{}{}", hooked.note, leg::warning(candidate.leg, &kernel.facts));
                    // A part that a kernel refuses is missing, and takes nothing else with it.
                    if let Err(error) = hooked.fills {
                        missing.page_cache = Some(first_line(&error));
                        parts.page_cache = false;
                    }
                    if parts.latency.is_some() {
                        match latency::attach(&mut ebpf, object, &kernel.layout, kernel.types()?, candidate.leg) {
                            Ok(link) => hooked.links.extend(link),
                            Err(error) => {
                                missing.latency = Some(first_line(&error));
                                parts.latency = None;
                            }
                        }
                    }
                    if parts.syncs
                        && let Err(error) = sync::attach(&mut ebpf)
                    {
                        missing.syncs = Some(first_line(&error));
                        parts.syncs = false;
                    }
                    let reason = reason(candidate, refused.as_ref(), &note);
                    return Ok(Attached { ebpf, links: hooked.links, leg: candidate.leg, reason, parts, missing });
                }
                Err(error) => {
                    made = is_unused(&ebpf).then_some((features, ebpf));
                    error
                }
            },
            Err(error) => error,
        };
        // What is forbidden to one leg is forbidden to the others, but for hooks of functions, which lockdown forbids alone.
        let is_forbidden = matches!(error, ProbeError::NotPermitted { .. } | ProbeError::NoBpf(_));
        if is_forbidden && !candidate.leg.hooks_functions() {
            return Err(error);
        }
        tracing::debug!(leg = %candidate.leg, %error, "refused");
        if refused.is_none() {
            refused = Some((candidate.leg, error));
        } else if matches!(error, ProbeError::Rejected { .. }) {
            rejected = rejected.or(Some(error));
        }
    }
    // Where functions may not be hooked, that is not why the other legs do not work.
    Err(match (refused, rejected) {
        (Some((_, ProbeError::NotPermitted { .. } | ProbeError::NoBpf(_))), Some(rejected)) => rejected,
        (Some((_, refused)), _) => refused,
        (None, _) => ProbeError::NoLeg(String::new()),
    })
}

/// What became of the hooks.
struct Hooked {
    /// What is to be said of the leg, as the rest of a sentence.
    note: String,
    /// What became of the hook for pages that come into the page cache, where that was asked for.
    fills: Result<(), ProbeError>,
    /// Links that are not aya's.
    links: Vec<KprobeMulti>,
}

/// Loads the programs and attaches them.
///
/// `object` is what `ebpf` was made of.
fn hook(ebpf: &mut Ebpf, object: &[u8], kernel: &Kernel, leg: Leg, parts: Parts) -> Result<Hooked, ProbeError> {
    let types = kernel.types()?;
    attach::begin(ebpf, &kernel.layout, types, leg)?;
    let of_leg = attach::program(leg, &kernel.layout);
    let of_fills = parts.page_cache.then(fills::program);
    let all: Vec<_> = of_leg.into_iter().chain(of_fills).chain([RESOLVER]).collect();
    let mut refused = verify::load(ebpf, types, &all);
    let fills = refused.remove(fills::program().program).map_or(Ok(()), Err);
    if let Some((_, error)) = refused.pop_first() {
        return Err(error);
    }
    let (note, links) = attach::attach(ebpf, object, &kernel.layout, types, leg)?;
    let fills = fills.and_then(|()| if parts.page_cache { fills::attach(ebpf) } else { Ok(()) });
    Ok(Hooked { note, fills, links })
}

fn reason(candidate: &Candidate, refused: Option<&(Leg, ProbeError)>, note: &str) -> String {
    match refused {
        Some((leg, error)) => format!("{}; {leg} was refused: {}{note}", candidate.reason, first_line(error)),
        None => format!("{}{note}", candidate.reason),
    }
}

/// An error without the verifier's log.
fn first_line(error: &ProbeError) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// Whether no program is loaded but those that every leg has: then nothing is attached, either.
fn is_unused(ebpf: &Ebpf) -> bool {
    let of_all = [RESOLVER.program, fills::program().program];
    ebpf.programs().all(|(name, program)| of_all.contains(&name) || program.fd().is_err())
}

/// A loader that relocates nothing: the program has no relocations by type. aya reads all of the kernel's types to make one,
/// which takes longer than everything else that is prepared; it finds out what the kernel can meanwhile, too.
fn bare_loader() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    let _ = aya::features();
    loader
}

/// The program's constants that all legs have.
struct Constants {
    offsets: Offsets,
    native: SyscallTable,
    compat: SyscallTable,
    fills: FillOffsets,
    slow_ns: u64,
    clients: ClientOffsets,
    order: OrderOffsets,
    syncs: SyncNumbers,
}

impl Constants {
    fn of(kernel: &Kernel, parts: Parts) -> Result<Self, ProbeError> {
        let (native, compat) = syscall_tables()?;
        // Where they are not known, no program reads them.
        let fills = kernel.layout.fill_offsets().unwrap_or_default();
        let slow_ns = parts.latency.map_or(u64::MAX, |slow| u64::try_from(slow.as_nanos()).unwrap_or(u64::MAX));
        let clients = kernel.layout.client_offsets().unwrap_or_default();
        let order = kernel.layout.order_offsets().unwrap_or_default();
        Ok(Self {
            offsets: kernel.layout.offsets()?,
            native,
            compat,
            fills,
            slow_ns,
            clients,
            order,
            syncs: sync::numbers(),
        })
    }

    /// Writes those of them that stand in the instructions.
    fn write_into(&self, object: &mut Instructions) {
        constants::write(object, &self.offsets);
        constants::write(object, &self.fills);
        constants::write(object, &self.clients);
        constants::write(object, &self.order);
    }

    /// The loader with the others, and with the sizes of the maps.
    fn given_to<'a>(&'a self, mut loader: EbpfLoader<'a>, capacity: Capacity, parts: Parts) -> EbpfLoader<'a> {
        let targets = u32::from(capacity.targets.max(1));
        // A part that is left out takes no memory. Files that are read from a disk are few among those that are read.
        let with_fills = |entries: u32| if parts.page_cache { entries } else { 1 };
        let with_order = |entries: u32| if parts.order { entries } else { 1 };
        let with_latency = |entries: u32| if parts.latency.is_some() { entries } else { 1 };
        loader
            .map_max_entries("FILLS", with_fills((capacity.files / 4).max(1024)))
            .map_max_entries("FILLS_OTHER", with_fills(targets * FILL_WAYS))
            .map_max_entries("FILL_THREADS", with_fills(THREADS))
            .map_max_entries("CLIENTS", parts.clients.map_or(1, |clients| clients.saturating_mul(targets)))
            .map_max_entries("CLIENTS_OTHER", parts.clients.map_or(1, |_| CLIENT_LISTENERS * targets))
            .map_max_entries("READERS", with_order(READER_SETS))
            .map_max_entries("SHORTS", with_order(capacity.transfers))
            .map_max_entries("SHORTS_OTHER", with_order(targets * SHORT_REASONS))
            .override_global("SYNC_NUMBERS", &self.syncs, true)
            .map_max_entries("SYNCS", if parts.syncs { targets * SYNC_CALLS } else { 1 })
            .map_max_entries("SYNC_STARTS", if parts.syncs { THREADS } else { 1 })
            .override_global("SLOW_NS", &self.slow_ns, true)
            .map_max_entries("LATENCIES", with_latency(capacity.transfers))
            .map_max_entries("FILE_LATENCIES", with_latency(capacity.files))
            .map_max_entries("STARTS", with_latency(THREADS))
            .override_global("NATIVE_CALLS", &self.native, true)
            .override_global("COMPAT_CALLS", &self.compat, true)
            .map_max_entries("TRANSFER_KEYS", capacity.transfers)
            .map_max_entries("TRANSFERS", capacity.transfers)
            .map_max_entries("FREE_TRANSFERS", capacity.transfers)
            .map_max_entries("FILES", capacity.files)
            .map_max_entries("FILE_COUNTS", capacity.files)
            .map_max_entries("FREE_FILES", capacity.files)
            .map_max_entries("DIRECTORIES", capacity.directories)
            .map_max_entries("LISTENERS", targets * LISTENER_WORDS)
            .map_max_entries("TRANSFERS_OTHER", targets * SYSCALLS_U32)
            .map_max_entries("RESULTS", targets * SYSCALLS_U32)
            .map_max_entries("FILES_OTHER", targets)
            .map_max_entries("COUNTERS", targets * COUNTERS);
        loader
    }
}

/// Creates the maps; no program is loaded yet.
fn load(
    loader: &mut EbpfLoader<'_>,
    object: &[u8],
    features: &Features,
    kernel: &Kernel,
    capacity: Capacity,
) -> Result<Ebpf, ProbeError> {
    let mut ebpf = loader.load(object).map_err(|error| no_maps(&kernel.facts, &error))?;
    if features.fetch == 0 {
        Places::Transfers.give_all(&mut ebpf, capacity.transfers)?;
        Places::Files.give_all(&mut ebpf, capacity.files)?;
    }
    Ok(ebpf)
}

/// Before Linux 5.11 maps and programs count against the memory-lock limit, whose usual 64 KiB are too few. Whoever may not
/// raise it is told when the maps are refused.
fn raise_memory_limit(facts: &KernelFacts) {
    if facts.version < MEMORY_BY_CONTROL_GROUP {
        let none = Rlimit { current: None, maximum: None };
        if let Err(error) = setrlimit(Resource::Memlock, none) {
            tracing::debug!(%error, "the memory-lock limit stays as it is");
        }
    }
}

/// Why maps could not be created. Older kernels say EPERM where the memory-lock limit is too low.
fn no_maps(facts: &KernelFacts, error: &(dyn std::error::Error + 'static)) -> ProbeError {
    match ProbeError::from_bpf("its maps", error) {
        ProbeError::NotPermitted { what: map, .. } if facts.version < MEMORY_BY_CONTROL_GROUP => {
            ProbeError::NoMemory { map, reason: chain(error) }
        }
        ProbeError::Failed { reason, .. } => ProbeError::Failed { what: "create its maps".to_owned(), reason },
        other => other,
    }
}

#[allow(clippy::cast_possible_truncation)] // 21
const SYSCALLS_U32: u32 = SYSCALLS as u32;

/// The machine's own table and that of its 32-bit callers.
fn syscall_tables() -> Result<(SyscallTable, SyscallTable), ProbeError> {
    match std::env::consts::ARCH {
        "x86_64" => Ok((X86_64, I386)),
        // 32-bit arm calls are not decoded: they are counted as such, and the Report says so.
        "aarch64" => Ok((GENERIC, [NOT_COUNTED; 512])),
        other => Err(ProbeError::UnknownArchitecture(other)),
    }
}

pub(super) fn program_mut<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, ProbeError>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program, Error = ProgramError>,
{
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    program.try_into().map_err(|error| ProbeError::failed(format!("use the program {name}"), &error))
}

pub(super) fn map_mut<'a, M>(ebpf: &'a mut Ebpf, name: &str) -> Result<M, ProbeError>
where
    M: TryFrom<&'a mut Map, Error = MapError>,
{
    let map = ebpf.map_mut(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(|error| ProbeError::failed(format!("use the map {name}"), &error))
}

pub(super) fn map<'a, M>(ebpf: &'a Ebpf, name: &str) -> Result<M, ProbeError>
where
    M: TryFrom<&'a Map, Error = MapError>,
{
    let map = ebpf.map(name).ok_or_else(|| missing(name))?;
    map.try_into().map_err(|error| ProbeError::failed(format!("use the map {name}"), &error))
}

/// An error of loading a program, with the end of the verifier's log if it has one.
pub(super) fn load_error(program: &str, error: &ProgramError) -> ProbeError {
    if let ProgramError::LoadError { io_error, verifier_log } = error {
        let log = verifier_log.to_string();
        if !log.trim().is_empty() {
            return rejected(program, io_error, &log);
        }
    }
    ProbeError::from_bpf(format!("load the program {program}"), error)
}

/// The same from what the kernel itself said.
pub(super) fn rejected(program: &str, error: &io::Error, log: &str) -> ProbeError {
    if error.raw_os_error() == Some(libc::EPERM) || log.trim().is_empty() {
        return ProbeError::from_bpf(format!("load the program {program}"), error);
    }
    let lines: Vec<_> = log.lines().collect();
    let end = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
    ProbeError::Rejected { program: program.to_owned(), reason: error.to_string(), log: end }
}

/// A map's contents are only ever borrowed.
pub(super) type Borrowed<'a> = &'a MapData;

#[cfg(test)]
mod tests;
