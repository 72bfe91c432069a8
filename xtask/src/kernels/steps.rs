//! What is tried inside a kernel, and what it means.

use serde::{Deserialize, Serialize};

use super::guest::{MODULES, Outcome, Step};

/// The legs, in the order of the tables.
pub(super) const LEGS: [&str; 4] = ["fexit", "raw", "kprobe-multi", "tracepoint"];

const DISK: &str = "disk";
/// What is tried on it, by each leg that the kernel allows, and how.
pub(super) const OF_DISK: [(&str, &str); 3] = [
    ("page cache", "test-cache cold_file"),
    ("order", "test-order --skip two_devices --skip wait_for_the_disk"),
    ("syncs", "test-order wait_for_the_disk"),
];

/// Exit status of zctrace: the kernel lacks something (README).
const KERNEL_LACKS: i32 = 5;

/// What zctrace says of a program that a kernel's verifier does not take.
const REJECTED: &str = "verifier rejected zctrace's program";

/// [`Result::auto`]: it was not tried, or none could be had.
const NO_LEG: &str = "none";

/// How much is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// Calls made as fast as they can be.
    pub(super) storm: u64,
    /// CPUs that go and come.
    pub(super) bad_days: bool,
    /// On the disk not every test by every leg.
    pub(super) in_short: bool,
}

impl Extent {
    pub(super) const QUICK: Self = Self { storm: 20_000, bad_days: false, in_short: true };
    pub(super) const WHOLE: Self = Self { storm: 200_000, bad_days: true, in_short: false };
}

/// The steps for a kernel.
pub(super) fn steps(extent: Extent) -> Vec<Step> {
    let mut steps =
        vec![Step::new("release", "uname -r"), Step::new("auto", "zctrace --pid 1 --duration 1ms --output json")];
    for leg in LEGS {
        // A leg that the kernel can't have says so; its tests are not run. With everything that can be asked for the program
        // is another one to the verifier.
        let attach =
            |more: &str| format!("zctrace --pid 1 --duration 1ms --output json --attach {leg}{more} >/dev/null");
        let attach = format!("{} && {}", attach(""), attach(" --latency --clients"));
        let test = format!(
            "export ZCTRACE_TEST_LEGS={leg} ZCTRACE_TEST_STORM={}; test-exact --test-threads=1 --skip every_leg \
             --skip the_kernel_encrypts",
            extent.storm
        );
        steps.push(Step::new(format!("attach {leg}"), format!("{attach} && echo {leg} >>/legs")));
        steps.push(Step::new(format!("exact {leg}"), format!("grep -q {leg} /legs || exit 99; {test}")));
    }
    // A disk: an ext4 on a loop device over a file in memory.
    let disk = "insmod /modules/*-loop.ko && truncate -s 64M /image && losetup /dev/loop0 /image && \
                mke2fs -b 4096 /dev/loop0 >/dev/null && mkdir /disk && mount -t ext4 /dev/loop0 /disk";
    steps.push(Step::new(DISK, disk));
    let by = |legs: &str| {
        format!("test ! -e /legs || export ZCTRACE_TEST_LEGS=$({legs} /legs | tr '\\n' ',' | sed 's/,$//')")
    };
    for (name, test) in OF_DISK {
        // In short: by the first leg, and the order by all, since it is the legs' own.
        let (legs, test) = match name {
            "order" if extent.in_short => ("cat", "test-order by_every_leg connections"),
            _ if extent.in_short => ("head -n 1", test),
            _ => ("cat", test),
        };
        let legs = by(legs);
        let run =
            format!("grep -q /disk /proc/mounts || {{ echo there is no disk; exit 98; }}; {test} --test-threads=1");
        steps.push(Step::new(name, format!("export ZCTRACE_TEST_DISK=/disk TMPDIR=/disk; {legs}; {run}")));
    }
    steps.push(Step::new("half-way", "grep -q fexit /legs || exit 99; test-legs --nocapture"));
    let all = "export ZCTRACE_TEST_LEGS=$(tr '\\n' ',' </legs | sed 's/,$//')";
    // Each needs only those before it. Without the module the step says so.
    let load =
        format!("for module in /{MODULES}/*.ko; do insmod $module; done; grep -q '^tls ' /proc/modules || exit 99");
    let test = "ZCTRACE_TEST_KERNEL_TLS=1; test-exact --test-threads=1 the_kernel_encrypts";
    let legs = by(if extent.in_short { "head -n 1" } else { "cat" });
    steps.push(Step::new("kernel-tls", format!("{load}; {legs}; export {test}")));
    steps.push(Step::new("doctor", "zctrace doctor"));
    if extent.bad_days {
        // A CPU goes and comes while calls are counted; what it counted stays.
        let toggle = "while true; do echo 0 >$cpu; sleep 0.2; echo 1 >$cpu; sleep 0.2; done";
        let hotplug = format!(
            "cpu=/sys/devices/system/cpu/cpu1/online; echo 0 >$cpu && echo 1 >$cpu || exit 99; \
             ( {toggle} ) & toggling=$!; {all} ZCTRACE_TEST_STORM={}; \
             test-exact --test-threads=1 millions threads_that; status=$?; kill $toggling; echo 1 >$cpu; exit $status",
            extent.storm
        );
        steps.push(Step::new("hotplug", hotplug));
    }
    steps
}

/// The only step for a fixture: the kernel's type information.
pub(super) fn types() -> Step {
    Step::new("types", "gzip -c /sys/kernel/btf/vmlinux | base64")
}

/// What became of a leg on a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// This many exactness tests passed, all of them.
    Passed(u32),
    /// This many passed; of the calls some are missing, which the kernel missed, and all of those are told.
    Missed(u32),
    /// The kernel can't have it, for this reason.
    Impossible(String),
    /// It was miscounted, or could not be tested.
    Failed(String),
}

/// What a kernel did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Result {
    /// `6.1`, or `newest`.
    pub(super) series: String,
    /// Debian's name of its architecture.
    pub(super) architecture: String,
    /// `uname -r`.
    pub(super) release: String,
    /// What `--attach auto` takes.
    pub(super) auto: String,
    /// Each leg that was tried: name, verdict.
    pub(super) legs: Vec<(String, Verdict)>,
    /// The other steps: name, verdict.
    pub(super) others: Vec<(String, Verdict)>,
}

impl Result {
    /// Of the outcomes of the [`steps`].
    pub(super) fn new(series: &str, architecture: &str, outcomes: &[Outcome]) -> Self {
        let find = |name: &str| outcomes.iter().find(|outcome| outcome.name == name);
        let leg = |leg: &str| match (find(&format!("attach {leg}"))?, find(&format!("exact {leg}"))) {
            // Another leg may be taken then, but the program is to be mended.
            (attach, _) if attach.output.contains(REJECTED) => Some(Verdict::Failed(attach.output.trim().to_owned())),
            (attach, _) if attach.status == KERNEL_LACKS => Some(Verdict::Impossible(reason(&attach.output))),
            (attach, _) if attach.status != 0 => Some(Verdict::Failed(attach.output.trim().to_owned())),
            (_, exact) => exact.map(tested),
        };
        let auto = find("auto").and_then(|outcome| chosen_leg(&outcome.output)).unwrap_or_else(|| NO_LEG.to_owned());
        let names = OF_DISK.iter().map(|(name, _)| *name).chain(["half-way", "kernel-tls", "doctor", "hotplug"]);
        let others = names.filter_map(|name| {
            let outcome = find(name)?;
            let verdict = match (name, outcome.status) {
                ("doctor", 0) => Verdict::Passed(1),
                ("doctor", 1) if misses(outcome) => Verdict::Missed(1),
                ("half-way", 99) => Verdict::Impossible("there is no leg `fexit`".to_owned()),
                ("kernel-tls", 99) => {
                    Verdict::Impossible("this kernel's package has no module tls that it loads".to_owned())
                }
                (_, 99) => Verdict::Impossible("this kernel lets no CPU go".to_owned()),
                ("doctor", _) => Verdict::Failed(outcome.output.clone()),
                _ => tested(outcome),
            };
            Some((name.to_owned(), verdict))
        });
        Self {
            series: series.to_owned(),
            architecture: architecture.to_owned(),
            release: find("release").map_or("", |outcome| outcome.output.trim()).to_owned(),
            auto,
            legs: LEGS.iter().filter_map(|name| Some(((*name).to_owned(), leg(name)?))).collect(),
            others: others.collect(),
        }
    }

    /// Takes over what a run of some steps alone tried on the same kernel.
    pub(super) fn update(&mut self, new: &Self) {
        for (old, new) in [(&mut self.legs, &new.legs), (&mut self.others, &new.others)] {
            for (name, verdict) in new {
                match old.iter_mut().find(|(known, _)| known == name) {
                    Some((_, old)) => old.clone_from(verdict),
                    None => old.push((name.clone(), verdict.clone())),
                }
            }
        }
    }

    /// Whether some leg is taken, no verifier was against the program on any, and what else was tried went well.
    pub(super) fn takes_the_program(&self) -> bool {
        self.auto != NO_LEG && self.failures().is_empty()
    }

    /// What went wrong, by name.
    pub(super) fn failures(&self) -> Vec<(&str, &str)> {
        let mut failures: Vec<_> = self
            .legs
            .iter()
            .chain(&self.others)
            .filter_map(|(name, verdict)| match verdict {
                Verdict::Failed(why) => Some((name.as_str(), why.as_str())),
                _ => None,
            })
            .collect();
        // A run of some steps may leave legs out.
        if self.legs.len() == LEGS.len()
            && !self.legs.iter().any(|(_, verdict)| matches!(verdict, Verdict::Passed(_) | Verdict::Missed(_)))
        {
            failures.push(("legs", "none of them works"));
        }
        failures
    }

    /// How many tests passed.
    pub(super) fn passed(&self) -> u32 {
        let verdicts = self.legs.iter().chain(&self.others).map(|(_, verdict)| verdict);
        let tests = |verdict: &Verdict| match verdict {
            Verdict::Passed(tests) | Verdict::Missed(tests) => *tests,
            _ => 0,
        };
        verdicts.map(tests).sum()
    }
}

fn chosen_leg(document: &str) -> Option<String> {
    // What zctrace says on stderr is in it, too.
    let json = document.get(document.find('{')?..)?;
    let report = serde_json::Deserializer::from_str(json).into_iter::<serde_json::Value>().next()?.ok()?;
    Some(report.pointer("/attach/leg")?.as_str()?.to_owned())
}

/// What zctrace's tests and its doctor say of a kernel that preempts threads in the hook.
fn misses(outcome: &Outcome) -> bool {
    // The doctor breaks its lines.
    outcome.output.split_whitespace().collect::<Vec<_>>().join(" ").contains("this kernel misses calls")
}

/// What a test says that holds that a kernel can't do its thing, and says so.
fn impossible(outcome: &Outcome) -> Option<&str> {
    outcome.output.lines().find_map(|line| line.strip_prefix("not possible: "))
}

/// `test result: ok. 11 passed; 0 failed; ...`
fn tested(outcome: &Outcome) -> Verdict {
    let passed =
        outcome.output.lines().find_map(|line| line.strip_prefix("test result: ok. ")?.split(' ').next()?.parse().ok());
    match passed {
        Some(passed) if outcome.status == 0 && passed > 0 && impossible(outcome).is_some() => {
            Verdict::Impossible(impossible(outcome).unwrap_or_default().to_owned())
        }
        Some(passed) if outcome.status == 0 && passed > 0 && misses(outcome) => Verdict::Missed(passed),
        Some(passed) if outcome.status == 0 && passed > 0 => Verdict::Passed(passed),
        _ => Verdict::Failed(outcome.output.trim().to_owned()),
    }
}

/// The reason in an error of zctrace: of several lines the last one, without the leg's name.
fn reason(output: &str) -> String {
    let error = output.find("zctrace: ").map_or(output, |at| &output[at + "zctrace: ".len()..]).trim();
    let line = error.lines().next_back().unwrap_or_default();
    LEGS.iter().find_map(|leg| line.strip_prefix(leg)?.strip_prefix(": ")).unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(name: &str, status: i32, output: &str) -> Outcome {
        Outcome { name: name.to_owned(), status, output: output.to_owned() }
    }

    #[test]
    fn what_a_kernel_cannot_do_is_no_failure() {
        let outcomes = [
            outcome("release", 0, "5.10.0\n"),
            outcome("auto", 0, "Watching\n{\"attach\": {\"leg\": \"fexit\"}}\n"),
            outcome("attach fexit", 0, ""),
            outcome("exact fexit", 0, "test result: ok. 11 passed; 0 failed; 0 ignored\n"),
            outcome("attach raw", 1, "zctrace: something broke\n"),
            outcome("attach tracepoint", 5, "Watching\nzctrace: no way to hook:\ntracepoint: it lacks the helper\n"),
            outcome("exact tracepoint", 99, ""),
            outcome("attach kprobe-multi", 0, ""),
            outcome("exact kprobe-multi", 0, "test result: ok. 12 passed; 0 failed; 0 ignored\n"),
            outcome("hotplug", 101, "test result: FAILED. 0 passed; 1 failed\n"),
        ];
        let result = Result::new("5.10", "amd64", &outcomes);
        assert_eq!((result.release.as_str(), result.auto.as_str()), ("5.10.0", "fexit"));
        let expected = [
            Verdict::Passed(11),
            Verdict::Failed("zctrace: something broke".to_owned()),
            Verdict::Passed(12),
            Verdict::Impossible("it lacks the helper".to_owned()),
        ];
        assert_eq!(result.legs, LEGS.map(str::to_owned).into_iter().zip(expected).collect::<Vec<_>>());
        let failed: Vec<_> = result.failures().into_iter().map(|(name, _)| name).collect();
        assert_eq!(failed, ["raw", "hotplug"]);
    }

    #[test]
    fn what_a_test_says_to_be_impossible_is_told_with_its_reason() {
        let text =
            "test a_cold_file ... \nnot possible: it takes Linux 5.15\nok\n\ntest result: ok. 1 passed; 0 failed\n";
        assert_eq!(tested(&outcome("page cache", 0, text)), Verdict::Impossible("it takes Linux 5.15".to_owned()));
        assert!(matches!(tested(&outcome("page cache", 98, "there is no disk\n")), Verdict::Failed(_)));
    }

    #[test]
    fn calls_that_the_kernel_missed_are_not_called_exact() {
        let text =
            "storm by Raw: this kernel misses calls: 5 are missing, 7 it says\ntest result: ok. 12 passed; 0 failed\n";
        assert_eq!(tested(&outcome("exact raw", 0, text)), Verdict::Missed(12));
        let result =
            Result::new("newest", "amd64", &[outcome("doctor", 1, "but this kernel\n  misses calls by leg raw")]);
        assert_eq!(result.others, [("doctor".to_owned(), Verdict::Missed(1))]);
    }

    #[test]
    fn a_run_of_some_steps_changes_only_those() {
        let whole = |status| {
            let exact = "test result: ok. 3 passed; 0 failed\n";
            [outcome("attach raw", 0, ""), outcome("exact raw", 0, exact), outcome("doctor", status, "")]
        };
        let mut result = Result::new("6.1", "amd64", &whole(0));
        let order = outcome("order", 0, "test result: ok. 9 passed; 0 failed\n");
        let part = Result::new("6.1", "amd64", &[order, outcome("doctor", 1, "miscounted")]);
        assert_eq!((&part.legs, part.failures().len()), (&vec![], 1), "a leg that was not tried did not fail");
        result.update(&part);
        assert_eq!(result.legs, [("raw".to_owned(), Verdict::Passed(3))]);
        let doctor = ("doctor".to_owned(), Verdict::Failed("miscounted".to_owned()));
        assert_eq!(result.others, [doctor, ("order".to_owned(), Verdict::Passed(9))]);
    }

    #[test]
    fn a_kernel_takes_the_program_where_a_leg_is_taken_and_none_is_refused_for_its_sake() {
        let auto = || outcome("auto", 0, r#"{"attach": {"leg": "fexit"}}"#);
        let takes = |outcomes: &[Outcome]| Result::new("6.1", "amd64", outcomes).takes_the_program();
        assert!(takes(&[auto(), outcome("attach fexit", 0, ""), outcome("attach tracepoint", 5, "it lacks a helper")]));
        assert!(!takes(&[]) && !takes(&[outcome("attach fexit", 0, "")]), "nothing was taken");
        let refused = format!("the kernel's {REJECTED} `raw_sys_exit`");
        assert!(!takes(&[auto(), outcome("attach raw", 5, &refused)]));
    }

    #[test]
    fn a_run_without_tests_did_not_pass() {
        let none = outcome("exact raw", 0, "test result: ok. 0 passed; 0 failed\n");
        assert!(matches!(tested(&none), Verdict::Failed(_)));
    }

    #[test]
    fn steps_are_told_apart() {
        let steps = steps(Extent { storm: 1, bad_days: true, in_short: false });
        let names: std::collections::BTreeSet<_> = steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(names.len(), steps.len());
    }
}
