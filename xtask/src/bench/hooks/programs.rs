//! The programs in C that zctrace is measured against: compiled here, loaded once, attached for a round at a time.

use std::{path::Path, process::Command};

use anyhow::{Context as _, bail};
use aya::{
    Btf, Ebpf, EbpfLoader,
    programs::{
        BtfTracePoint, Program, ProgramInfo, RawTracePoint, raw_trace_point::RawTracePointLink,
        tp_btf::BtfTracePointLink,
    },
};

use crate::command::{quietly, root};

/// A program that is attached until this is dropped.
pub(in crate::bench) enum Link {
    Typed { _link: BtfTracePointLink },
    Untyped { _link: RawTracePointLink },
}

/// The loaded programs.
pub(in crate::bench) struct Programs(Ebpf);

impl Programs {
    /// Loads them from what [`compile`] made; the counters count for `pid`.
    pub(in crate::bench) fn load(object: &Path, pid: u32) -> anyhow::Result<Self> {
        let btf = Btf::from_sys_fs().context("the kernel's BTF can't be read")?;
        let mut ebpf = EbpfLoader::new()
            .btf(Some(&btf))
            .override_global("PID", &pid, true)
            .load_file(object)
            .context("the programs to compare with can't be loaded")?;
        for (name, program) in ebpf.programs_mut() {
            match program {
                Program::RawTracePoint(program) => program.load(),
                Program::BtfTracePoint(program) => program.load("sys_exit", &btf),
                _ => bail!("{name} is of no known kind"),
            }
            .with_context(|| format!("the program {name} can't be loaded"))?;
        }
        Ok(Self(ebpf))
    }

    pub(in crate::bench) fn attach(&mut self, name: &str) -> anyhow::Result<Link> {
        let program = self.0.program_mut(name).with_context(|| format!("there is no program {name}"))?;
        Ok(match program {
            Program::RawTracePoint(program) => {
                let program: &mut RawTracePoint = program;
                let link = program.attach("sys_exit")?;
                Link::Untyped { _link: program.take_link(link)? }
            }
            Program::BtfTracePoint(program) => {
                let program: &mut BtfTracePoint = program;
                let link = program.attach()?;
                Link::Typed { _link: program.take_link(link)? }
            }
            _ => bail!("{name} is of no known kind"),
        })
    }

    pub(in crate::bench) fn info(&self, name: &str) -> anyhow::Result<ProgramInfo> {
        let program = self.0.program(name).with_context(|| format!("there is no program {name}"))?;
        program.info().with_context(|| format!("the kernel does not tell about {name}"))
    }
}

/// Compiles them.
pub(super) fn compile(object: &Path) -> anyhow::Result<()> {
    let mut clang = Command::new("clang");
    clang.args(["-O2", "-g", "-Wall", "-Werror", "-target", "bpf"]);
    // Where Debian keeps <asm/types.h>.
    clang.arg(format!("-I/usr/include/{}-linux-gnu", std::env::consts::ARCH));
    if std::env::consts::ARCH == "aarch64" {
        clang.arg("-DARM64");
    }
    clang.arg("-c").arg(root().join("xtask/src/bench/hooks/programs.bpf.c")).arg("-o").arg(object);
    quietly(&mut clang).map(drop)
}
