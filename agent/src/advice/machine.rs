//! Rules about what the broker runs on.

use super::Advice;
use crate::{
    machine::{LogDir, Machine},
    report::Report,
};

/// Everything that the machine gives reason for.
#[must_use]
pub fn advise(report: &Report) -> Vec<Advice> {
    let Some(machine) = &report.machine else { return Vec::new() };
    [network_log_dirs(machine)].into_iter().flatten().collect()
}

fn network_log_dirs(machine: &Machine) -> Option<Advice> {
    let evidence: Vec<String> = machine.log_dirs.iter().filter(|dir| dir.network == Some(true)).map(place).collect();
    (!evidence.is_empty()).then(|| Advice {
        id: "log_dir_on_network",
        text:
            "Logs lie on a network file system. Each read that the page cache does not answer, and each flush, waits \
               for the network and another machine, and Kafka's files were not made for its rules of renaming and \
               deleting open files."
                .to_owned(),
        evidence,
        remedy: "Put log.dirs on local disks: replication between brokers is what keeps the data safe.".to_owned(),
    })
}

/// `/data is on nfs4, server:/export`.
fn place(dir: &LogDir) -> String {
    let known = |value: &Option<String>| value.clone().unwrap_or_default();
    format!("{} is on {}, {}", dir.path, known(&dir.file_system), known(&dir.source))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(file_system: &str, network: bool) -> LogDir {
        LogDir {
            path: "/data".to_owned(),
            file_system: Some(file_system.to_owned()),
            source: Some("store:/kafka".to_owned()),
            mount_options: Some("rw".to_owned()),
            device: Some("0:53".to_owned()),
            network: Some(network),
            block: Vec::new(),
            data_profile: None,
        }
    }

    #[test]
    fn a_log_directory_on_the_network_is_called_out_with_its_place() {
        let machine = |dirs| Machine { log_dirs: dirs };
        let advice = network_log_dirs(&machine(vec![dir("ext4", false), dir("nfs4", true)]));
        let evidence = advice.map(|advice| advice.evidence);
        assert_eq!(evidence, Some(vec!["/data is on nfs4, store:/kafka".to_owned()]));
        assert_eq!(network_log_dirs(&machine(vec![dir("ext4", false)])), None);
    }
}
