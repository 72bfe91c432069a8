//! A kernel's type information, cut down to what zctrace looks at: small enough to be committed, so that offsets and the
//! decision on a leg are tested for each kernel without booting it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use anyhow::{Context as _, bail};

use super::Architecture;
use crate::command::root;

/// Where they lie.
const FOLDER: &str = "agent/src/probe/fixtures";

/// Structures, with the members that are looked at (agent/src/probe/layout.rs).
const MEMBERS: [(&str, &[&str]); 22] = [
    ("task_struct", &["tgid", "pid", "group_leader", "start_boottime", "thread_pid", "files", "thread_info", "se"]),
    ("sched_entity", &["cfs_rq"]),
    ("cfs_rq", &["rq"]),
    ("rq", &["curr"]),
    ("thread_info", &["status", "flags"]),
    ("pid", &["level", "numbers"]),
    ("upid", &["nr"]),
    ("files_struct", &["fdt"]),
    ("fdtable", &["max_fds", "fd"]),
    ("file", &["f_mode", "f_inode", "f_path", "private_data"]),
    ("path", &["dentry"]),
    ("inode", &["i_mode", "i_sb", "i_ino", "i_generation"]),
    ("super_block", &["s_dev"]),
    ("dentry", &["d_parent", "d_name", "d_inode"]),
    ("qstr", &["name"]),
    ("socket", &["type", "sk"]),
    ("sock", &["__sk_common"]),
    ("sock_common", &["skc_family", "skc_num"]),
    ("inet_sock", &["inet_sport"]),
    ("list_head", &["next"]),
    ("tracepoint_ext", &["faultable"]),
    ("pt_regs", &["orig_ax", "ax", "di", "si", "dx", "r10", "bx", "cx", "orig_x0", "user_regs", "regs", "syscallno"]),
];
/// A structure within `pt_regs` of arm64.
const USER_REGS: (&str, &[&str]) = ("user_pt_regs", &["regs"]);
/// Functions, whose presence says what a kernel can do (agent/src/probe/kernel.rs).
const FUNCTIONS: [&str; 7] = [
    "bpf_get_current_task_btf",
    "bpf_task_pt_regs",
    "bpf_rdonly_cast",
    "bpf_preempt_disable",
    "bpf_preempt_enable",
    "bpf_trampoline_link_prog",
    "register_fprobe_ips",
];
const TRACEPOINT: &str = "btf_trace_sys_exit";

/// In place of types that are not looked at: no type of a kernel, and its number in the fixture.
const CUT: u32 = 0;
const CUT_NUMBER: u32 = 1;

// include/uapi/linux/btf.h
const HEADER: usize = 24;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const FWD: u32 = 7;
const TYPEDEF: u32 = 8;
const FUNC: u32 = 12;
const MODIFIERS: [u32; 5] = [TYPEDEF, 9, 10, 11, 18];

/// Writes the fixture of a kernel; `types` is its BTF, by gzip and base64.
pub(super) fn write(series: &str, architecture: Architecture, types: &str) -> anyhow::Result<()> {
    let mut child = Command::new("sh")
        .args(["-c", "base64 -d | gzip -dc"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("base64 and gzip are needed")?;
    let input = types.to_owned();
    let stdin = child.stdin.take();
    let feeder = std::thread::spawn(move || stdin.map(|mut stdin| stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output()?;
    let _ = feeder.join();
    let cut = Types::parse(&output.stdout)?.cut();
    let folder = root().join(FOLDER);
    fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{series}-{}.btf", architecture.debian()));
    fs::write(&path, &cut).with_context(|| format!("{} can't be written", path.display()))?;
    println!("{}: {} of {} bytes", path.display(), cut.len(), output.stdout.len());
    Ok(())
}

/// A member of a structure: name, type, offset as it stands.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    id: u32,
    offset: u32,
}

#[derive(Clone, Debug)]
struct Type {
    name: String,
    info: u32,
    size_or_type: u32,
    members: Vec<Member>,
}

impl Type {
    const fn kind(&self) -> u32 {
        self.info >> 24 & 0x1f
    }
}

/// All types; the first one has the number 1.
struct Types(Vec<Type>);

impl Types {
    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let word = |at: usize| -> anyhow::Result<u32> {
            let bytes = bytes.get(at..at + 4).context("the types are cut off")?;
            Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        };
        if bytes.len() < HEADER || bytes[..2] != [0x9f, 0xeb] {
            bail!("the guest sent no type information");
        }
        let (types, length, strings) = (word(8)? as usize, word(12)? as usize, word(16)? as usize);
        let name = |offset: u32| {
            let text = bytes.get(HEADER + strings + offset as usize..).unwrap_or_default();
            let end = text.iter().position(|byte| *byte == 0).unwrap_or(0);
            String::from_utf8_lossy(&text[..end]).into_owned()
        };
        let mut all = Vec::new();
        let mut at = HEADER + types;
        while at < HEADER + types + length {
            let info = word(at + 4)?;
            let mut this = Type { name: name(word(at)?), info, size_or_type: word(at + 8)?, members: Vec::new() };
            let count = (info & 0xffff) as usize;
            at += 12;
            at += match this.kind() {
                STRUCT | UNION => {
                    for member in 0..count {
                        let at = at + member * 12;
                        this.members.push(Member { name: name(word(at)?), id: word(at + 4)?, offset: word(at + 8)? });
                    }
                    count * 12
                }
                1 | 14 | 17 => 4,
                3 => 12,
                15 | 19 => count * 12,
                6 | 13 => count * 8,
                _ => 0,
            };
            all.push(this);
        }
        Ok(Self(all))
    }

    fn get(&self, id: u32) -> Option<&Type> {
        self.0.get(usize::try_from(id).ok()?.checked_sub(1)?)
    }

    /// Through typedefs, const and the like.
    fn plain(&self, mut id: u32) -> Option<u32> {
        for _ in 0..16 {
            let this = self.get(id)?;
            if !MODIFIERS.contains(&this.kind()) {
                return Some(id);
            }
            id = this.size_or_type;
        }
        None
    }

    /// Only what is named above. A member's type is kept where it is one of the structures, or has no name itself; other
    /// types become one that says nothing.
    fn cut(&self) -> Vec<u8> {
        let wanted: BTreeMap<&str, &[&str]> = MEMBERS.into_iter().chain([USER_REGS]).collect();
        let functions: BTreeSet<String> = FUNCTIONS
            .into_iter()
            .map(str::to_owned)
            .chain(["x64", "arm64"].map(|prefix| format!("__{prefix}_sys_read")))
            .collect();
        let mut kept = Kept::default();
        let cut = Type { name: "cut".to_owned(), info: FWD << 24, size_or_type: 0, members: Vec::new() };
        kept.add(CUT, cut);
        for (index, this) in self.0.iter().enumerate() {
            let is_wanted = match this.kind() {
                STRUCT => wanted.contains_key(this.name.as_str()),
                TYPEDEF => this.name == TRACEPOINT,
                FUNC => functions.contains(&this.name),
                _ => false,
            };
            if let (true, Ok(id)) = (is_wanted, u32::try_from(index + 1)) {
                self.keep(id, wanted.get(this.name.as_str()).copied(), &wanted, &mut kept);
            }
        }
        kept.bytes()
    }

    /// Keeps a type, if it is not kept already; returns its new number.
    fn keep(&self, id: u32, members: Option<&[&str]>, wanted: &BTreeMap<&str, &[&str]>, kept: &mut Kept) -> u32 {
        if let Some(new) = kept.numbers.get(&id) {
            return *new;
        }
        let Some(this) = self.get(id) else { return 0 };
        let mut cut = this.clone();
        cut.members.clear();
        if !matches!(this.kind(), STRUCT | UNION) {
            cut.size_or_type = 0;
        }
        let new = kept.add(id, cut);
        let mut left = Vec::new();
        for member in &this.members {
            let inner = self.plain(member.id).and_then(|id| Some((id, self.get(id)?)));
            let inner = inner.filter(|(_, inner)| matches!(inner.kind(), STRUCT | UNION));
            let is_nameless = member.name.is_empty();
            if !is_nameless && !members.is_some_and(|members| members.contains(&member.name.as_str())) {
                continue;
            }
            let number = match inner {
                // A nameless one within: the same members are looked for in it.
                Some((id, _)) if is_nameless => {
                    let number = self.keep(id, members, wanted, kept);
                    if kept.types[number as usize - 1].members.is_empty() {
                        continue;
                    }
                    number
                }
                Some((id, inner)) => match wanted.get(inner.name.as_str()) {
                    Some(theirs) => self.keep(id, Some(theirs), wanted, kept),
                    None => CUT_NUMBER,
                },
                None => CUT_NUMBER,
            };
            left.push(Member { id: number, ..member.clone() });
        }
        let place = &mut kept.types[new as usize - 1];
        place.info = place.info & !0xffff | u32::try_from(left.len()).unwrap_or(0);
        place.members = left;
        new
    }
}

/// Types that stay.
#[derive(Default)]
struct Kept {
    types: Vec<Type>,
    /// Old number to new number.
    numbers: BTreeMap<u32, u32>,
}

impl Kept {
    fn add(&mut self, id: u32, this: Type) -> u32 {
        self.types.push(this);
        let new = u32::try_from(self.types.len()).unwrap_or(0);
        self.numbers.insert(id, new);
        new
    }

    fn bytes(&self) -> Vec<u8> {
        let mut strings = vec![0u8];
        let mut places: BTreeMap<&str, u32> = BTreeMap::from([("", 0)]);
        let mut types = Vec::new();
        for this in &self.types {
            for name in std::iter::once(&this.name).chain(this.members.iter().map(|member| &member.name)) {
                places.entry(name).or_insert_with(|| {
                    let at = u32::try_from(strings.len()).unwrap_or(0);
                    strings.extend(name.bytes().chain([0]));
                    at
                });
            }
            types.extend([places[this.name.as_str()], this.info, this.size_or_type]);
            types.extend(
                this.members.iter().flat_map(|member| [places[member.name.as_str()], member.id, member.offset]),
            );
        }
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_le_bytes).collect();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(0);
        let mut bytes = vec![0x9f, 0xeb, 1, 0];
        for word in [24, 0, length(&types), length(&types), length(&strings)] {
            bytes.extend(u32::to_le_bytes(word));
        }
        [bytes, types, strings].concat()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn member(name: &str, id: u32, offset: u32) -> Member {
        Member { name: name.to_owned(), id, offset }
    }

    fn structure(name: &str, members: Vec<Member>) -> Type {
        let info = STRUCT << 24 | u32::try_from(members.len()).unwrap();
        Type { name: name.to_owned(), info, size_or_type: 64, members }
    }

    #[test]
    fn only_what_is_looked_at_stays_and_keeps_its_place() {
        let types = Types(vec![
            structure("unused", vec![member("x", 0, 0)]),
            structure("", vec![member("fdt", 0, 32), member("other", 0, 64)]),
            structure("files_struct", vec![member("count", 0, 0), member("", 2, 128), member("", 1, 256)]),
            Type { name: "bpf_task_pt_regs".to_owned(), info: FUNC << 24, size_or_type: 9, members: Vec::new() },
        ]);
        let bytes = Kept { types: types.0.clone(), numbers: BTreeMap::new() }.bytes();
        let cut = Types::parse(&Types::parse(&bytes).unwrap().cut()).unwrap().0;
        let names: Vec<_> = cut.iter().map(|this| this.name.as_str()).collect();
        assert_eq!(&names[..3], ["cut", "files_struct", ""]);
        assert_eq!(names.last(), Some(&"bpf_task_pt_regs"));
        let [nameless] = cut[1].members.as_slice() else { unreachable!("one member: {cut:?}") };
        assert_eq!((nameless.offset, nameless.id), (128, 3));
        assert_eq!(cut[2].members.iter().map(|m| (m.name.as_str(), m.offset)).collect::<Vec<_>>(), [("fdt", 32)]);
    }
}
