//! `zctrace doctor` on this machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use agent_ebpf::Syscall;
use support::{ZCTRACE, alone, assert_nothing_left, need, zctrace};

#[test]
fn the_self_test_makes_every_call_by_both_legs_and_finds_every_byte() {
    let _alone = alone();
    let output = zctrace(&["doctor", "--output", "json"]);
    let diagnosis: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{diagnosis:#}");
    assert_eq!(diagnosis["able"], true);
    let tests = diagnosis["self_tests"].as_array().unwrap();
    assert_eq!(tests.iter().map(|test| test["leg"].as_str().unwrap()).collect::<Vec<_>>(), ["raw", "tracepoint"]);
    for test in tests {
        assert_eq!(test["differences"].as_array().unwrap().len(), 0, "{test:#}");
        let calls = test["calls"].as_array().unwrap();
        assert_eq!(calls.len(), Syscall::ALL.len());
        assert!(calls.iter().all(|call| call["exact"] == true && call["bytes"].as_u64().unwrap() > 0), "{calls:#?}");
    }
    assert_nothing_left();
}

#[test]
fn a_missing_capability_is_named_with_the_command_that_grants_it() {
    let _alone = alone();
    need("setpriv");
    let output = Command::new("setpriv")
        .args(["--bounding-set=-all,+bpf", "--inh-caps=-all,+bpf", ZCTRACE, "doctor"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(4), "{text}");
    assert!(text.contains("CAP_PERFMON: this process does not have it"), "{text}");
    assert!(text.contains("setcap cap_bpf,cap_perfmon"), "{text}");
    assert!(text.contains("Missing: CAP_PERFMON."), "{text}");
    assert!(!text.contains("Self-test"), "{text}");
}
