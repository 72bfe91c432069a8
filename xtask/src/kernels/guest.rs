//! A machine under QEMU, by software emulation: a kernel, an initial file system with a shell, and a serial port on which
//! the results come.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use super::{Architecture, debian::Kernel, program::Programs};
use crate::command::quietly;

/// A command for the guest's shell.
pub(super) struct Step {
    pub(super) name: String,
    pub(super) command: String,
}

impl Step {
    pub(super) fn new(name: impl Into<String>, command: impl Into<String>) -> Self {
        Self { name: name.into(), command: command.into() }
    }
}

/// What a step gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) status: i32,
    pub(super) output: String,
}

/// Marks the lines between which a step's output lies.
const MARK: &str = "@@@";

/// Where the guest has the kernel's modules.
pub(super) const MODULES: &str = "modules";

/// Boots `kernel` with the programs, and runs the steps, each of which may take as long as `patience`; `done` is called after each.
pub(super) fn run(
    kernel: &Kernel,
    architecture: Architecture,
    programs: Option<&Programs>,
    steps: &[Step],
    patience: Duration,
    mut done: impl FnMut(&Outcome),
) -> anyhow::Result<Vec<Outcome>> {
    let dir = tempfile::tempdir()?;
    let initrd = initial_file_system(dir.path(), kernel, architecture, programs, steps)?;
    let (console, output) = (dir.path().join("console"), dir.path().join("output"));
    let mut command = Command::new(architecture.emulator());
    command.args(architecture.machine()).args(["-m", "512", "-smp", "2", "-no-reboot", "-display", "none"]);
    command.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(initrd);
    command.args(["-append", &format!("console={} quiet panic=-1", architecture.console())]);
    command.args(["-serial".to_owned(), format!("file:{}", console.display())]);
    command.args(architecture.second_port(&output));
    let mut machine = Machine(command.stdin(Stdio::null()).spawn().context("QEMU could not be started")?);
    let mut began = Instant::now();
    let mut seen = 0;
    loop {
        let ended = machine.0.try_wait()?.is_some();
        let outcomes =
            outcomes(&fs::read(&output).map(|text| String::from_utf8_lossy(&text).into_owned()).unwrap_or_default());
        for outcome in outcomes.iter().skip(seen) {
            done(outcome);
            began = Instant::now();
        }
        seen = outcomes.len();
        if outcomes.len() == steps.len() {
            return Ok(outcomes);
        }
        if ended || began.elapsed() > patience {
            let step = steps.get(seen).map_or("", |step| step.name.as_str());
            let why = if ended { "ended" } else { "took too long" };
            let said = fs::read_to_string(&console).unwrap_or_default();
            let lines: Vec<_> = said.lines().collect();
            bail!(
                "the guest {why} at the step `{step}`; its console's end:\n{}",
                lines[lines.len().saturating_sub(20)..].join("\n")
            );
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Ends with its owner.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The steps that are complete in what came over the serial port.
fn outcomes(text: &str) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    let mut open: Option<(String, String)> = None;
    // A last line without its end may still grow.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    for line in whole.lines().map(|line| line.trim_end_matches('\r')) {
        match line.strip_prefix(MARK).map(|rest| rest.trim().split_once(' ').unwrap_or((rest.trim(), ""))) {
            Some(("begin", name)) => open = Some((name.to_owned(), String::new())),
            Some(("end", status)) => {
                if let Some((name, output)) = open.take() {
                    outcomes.push(Outcome { name, status: status.parse().unwrap_or(-1), output });
                }
            }
            _ => {
                if let Some((_, output)) = &mut open {
                    output.push_str(line);
                    output.push('\n');
                }
            }
        }
    }
    outcomes
}

/// busybox, the kernel's modules, the programs and a script, packed.
fn initial_file_system(
    dir: &Path,
    kernel: &Kernel,
    architecture: Architecture,
    programs: Option<&Programs>,
    steps: &[Step],
) -> anyhow::Result<PathBuf> {
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::copy(super::debian::busybox(architecture)?, root.join("bin/busybox"))?;
    fs::create_dir_all(root.join(MODULES))?;
    for module in fs::read_dir(&kernel.modules).context("the kernel's modules are not there")? {
        let module = module?;
        fs::copy(module.path(), root.join(MODULES).join(module.file_name()))?;
    }
    if let Some(programs) = programs {
        fs::copy(&programs.zctrace, root.join("bin/zctrace"))?;
        for (name, path) in super::program::TESTS.iter().zip(&programs.tests) {
            fs::copy(path, root.join("bin").join(format!("test-{name}")))?;
        }
    }
    fs::write(root.join("init"), script(architecture, steps))?;
    quietly(Command::new("chmod").arg("755").arg(root.join("init")))?;
    let archive = dir.join("initrd");
    let pack = format!("find . | cpio --quiet -o -H newc | gzip -1 > {}", archive.display());
    quietly(Command::new("sh").current_dir(&root).args(["-c", &pack]))
        .context("the initial file system can't be packed")?;
    Ok(archive)
}

fn script(architecture: Architecture, steps: &[Step]) -> String {
    let port = architecture.port();
    let mut script = format!(
        "#!/bin/busybox sh\n\
         /bin/busybox --install -s /bin\n\
         export PATH=/bin HOME=/ ZCTRACE_EXE=/bin/zctrace NO_COLOR=1\n\
         mkdir -p /proc /sys /dev /tmp\n\
         mount -t proc none /proc; mount -t sysfs none /sys; mount -t devtmpfs none /dev\n\
         mount -t tracefs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug\n\
         mount -t securityfs none /sys/kernel/security\n\
         ip link set lo up\n\
         stty -F {port} raw\n\
         exec >{port} 2>&1 </dev/null\n"
    );
    for Step { name, command } in steps {
        script += &format!("echo '{MARK} begin {name}'\n( {command} )\nstatus=$?; echo; echo \"{MARK} end $status\"\n");
    }
    script + "sync; poweroff -f\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_so_far_is_cut_into_steps() {
        let text = "noise\r\n@@@ begin one two\r\nline\r\n\r\n@@@ end 0\r\n@@@ begin three\r\nx\r\n@@@ end 5\r\n@@@ begin four\r\n@@@ en";
        let outcome =
            |name: &str, status, output: &str| Outcome { name: name.to_owned(), status, output: output.to_owned() };
        assert_eq!(outcomes(text), [outcome("one two", 0, "line\n\n"), outcome("three", 5, "x\n")]);
    }

    #[test]
    fn the_script_tells_the_status_of_each_step() {
        let script = script(Architecture::Amd64, &[Step::new("a", "false")]);
        assert!(
            script.contains("echo '@@@ begin a'\n( false )\nstatus=$?; echo; echo \"@@@ end $status\"\n"),
            "{script}"
        );
    }
}
