#![allow(clippy::unwrap_used)]
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

struct Tree(tempfile::TempDir);

impl Tree {
    fn new() -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        symlink(std::process::id().to_string(), tree.0.path().join("self")).unwrap();
        tree
    }

    fn process(&self, pid: u32, start: u64, arguments: &[&str]) {
        let dir = self.0.path().join(pid.to_string());
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).unwrap();
        let fields = "S 1 1 1 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0";
        fs::write(dir.join("stat"), format!("{pid} (a ) b) {fields} {start} 0 0\n")).unwrap();
        fs::write(dir.join("status"), format!("Name:\tx\nTgid:\t{pid}\nState:\tS (sleeping)\n")).unwrap();
        fs::write(dir.join("cmdline"), arguments.join("\0") + "\0").unwrap();
        symlink(format!("/usr/bin/{}", arguments[0]), dir.join("exe")).unwrap();
    }

    fn end(&self, pid: u32) {
        fs::remove_dir_all(self.0.path().join(pid.to_string())).unwrap();
    }

    fn discovery(&self, rules: Vec<Rule>) -> Discovery {
        Discovery::new(self.0.path().to_owned(), rules)
    }
}

fn names(found: &[Found]) -> Vec<&str> {
    found.iter().map(|found| found.name.as_str()).collect()
}

const BROKER: [&str; 4] = ["java", "-Xmx1g", "kafka.Kafka", "/etc/server.properties"];

#[test]
fn a_broker_is_found_once_and_again_after_a_restart() {
    let tree = Tree::new();
    tree.process(100, 5000, &BROKER);
    tree.process(101, 5000, &["bash"]);
    let mut discovery = tree.discovery(vec![Rule::Kafka]);
    let nobody = BTreeSet::new();
    let found = discovery.scan(&nobody);
    assert_eq!((names(&found), found[0].start_ticks), (vec!["kafka"], 5000));
    for _ in 0..30 {
        assert_eq!(names(&discovery.scan(&["kafka".to_owned()].into())), Vec::<&str>::new());
    }
    tree.end(100);
    discovery.scan(&nobody);
    tree.process(200, 9000, &BROKER);
    assert_eq!(names(&discovery.scan(&nobody)), ["kafka"], "the same name with another PID");
}

#[test]
fn a_start_script_that_becomes_a_broker_is_noticed() {
    let tree = Tree::new();
    tree.process(100, 5000, &["bash", "kafka-server-start.sh"]);
    let mut discovery = tree.discovery(vec![Rule::Kafka]);
    assert!(discovery.scan(&BTreeSet::new()).is_empty());
    tree.process(100, 5000, &BROKER);
    assert_eq!(names(&discovery.scan(&BTreeSet::new())), ["kafka"]);
}

#[test]
fn a_reused_pid_is_noticed_within_a_round() {
    let tree = Tree::new();
    tree.process(100, 5000, &["sleep", "1000"]);
    let mut discovery = tree.discovery(vec![Rule::Kafka]);
    for _ in 0..50 {
        assert!(discovery.scan(&BTreeSet::new()).is_empty());
    }
    tree.process(100, 7000, &BROKER);
    let scans = (0..ROUND).find(|_| !discovery.scan(&BTreeSet::new()).is_empty());
    assert!(scans.is_some());
}

#[test]
fn processes_of_one_name_get_numbers_and_keep_them() {
    let tree = Tree::new();
    for pid in [100, 101, 102] {
        tree.process(pid, 5000, &["nginx"]);
    }
    let mut discovery = tree.discovery(vec![Rule::Match(Regex::new("^nginx").unwrap())]);
    assert_eq!(names(&discovery.scan(&BTreeSet::new())), ["nginx", "nginx-2", "nginx-3"]);
    tree.end(101);
    let running: BTreeSet<_> = ["nginx".to_owned(), "nginx-3".to_owned()].into();
    discovery.scan(&running);
    tree.process(300, 8000, &["nginx"]);
    assert_eq!(names(&discovery.scan(&running)), ["nginx-2"]);
}

#[test]
fn rules_are_alternatives_and_a_process_is_found_once() {
    let tree = Tree::new();
    tree.process(100, 5000, &BROKER);
    tree.process(101, 5000, &["my server", "--password=secret"]);
    let rules = vec![Rule::Kafka, Rule::Pid(100), Rule::Pid(101), Rule::Match(Regex::new("kafka").unwrap())];
    assert_eq!(names(&tree.discovery(rules).scan(&BTreeSet::new())), ["kafka", "my_server"]);
}

#[test]
fn many_short_lived_processes_leave_nothing_behind() {
    let tree = Tree::new();
    let mut discovery = tree.discovery(vec![Rule::Match(Regex::new("burst").unwrap())]);
    for round in 0..20u32 {
        for n in 0..20 {
            tree.process(1000 + round * 20 + n, u64::from(round), &["burst"]);
        }
        assert_eq!(discovery.scan(&BTreeSet::new()).len(), 20);
        for n in 0..20 {
            tree.end(1000 + round * 20 + n);
        }
    }
    discovery.scan(&BTreeSet::new());
    assert!(discovery.judged.is_empty());
    assert!(discovery.names.len() <= 20);
}

#[test]
fn a_process_that_could_not_be_watched_is_tried_again() {
    let tree = Tree::new();
    tree.process(100, 5000, &BROKER);
    let mut discovery = tree.discovery(vec![Rule::Kafka]);
    assert_eq!(discovery.scan(&BTreeSet::new()).len(), 1);
    discovery.forget(100);
    assert_eq!(discovery.scan(&BTreeSet::new()).len(), 1);
}

/// A process of `/proc` as it was found: command line (zeros as spaces), executable, and files below its root.
struct Recorded {
    what: &'static str,
    command_line: &'static str,
    executable: &'static str,
    files: &'static [(&'static str, &'static str)],
    /// The target's name, if it is a broker or controller.
    name: Option<&'static str>,
}

const BROKER_1: (&str, &str) = ("opt/kafka/config/server.properties", "node.id=1\nprocess.roles=broker,controller\n");

const RECORDED: &[Recorded] = &[
    Recorded {
        what: "Apache Kafka by kafka-server-start.sh",
        command_line: "java -Xmx1G -Xms1G -server -XX:+UseG1GC -Xlog:gc*:file=/opt/kafka/logs/kafkaServer-gc.log:time,tags:filecount=10 \
                       -Dcom.sun.management.jmxremote=true -Dkafka.logs.dir=/opt/kafka/logs \
                       -Dlog4j2.configurationFile=/opt/kafka/config/log4j2.yaml -cp /opt/kafka/libs/a.jar:/opt/kafka/libs/b.jar \
                       kafka.Kafka /opt/kafka/config/server.properties",
        executable: "/usr/lib/jvm/java-17-openjdk-amd64/bin/java",
        files: &[BROKER_1],
        name: Some("kafka-1"),
    },
    Recorded {
        what: "its start script, before it becomes the JVM",
        command_line: "/bin/bash /opt/kafka/bin/kafka-server-start.sh /opt/kafka/config/server.properties",
        executable: "/usr/bin/bash",
        files: &[BROKER_1],
        name: None,
    },
    Recorded {
        what: "a KRaft controller alone",
        command_line: "java -Xmx1G -cp /opt/kafka/libs/* kafka.Kafka /opt/kafka/config/controller.properties",
        executable: "/usr/bin/java",
        files: &[("opt/kafka/config/controller.properties", "node.id=3000\nprocess.roles=controller\n")],
        name: Some("kafka-controller-3000"),
    },
    Recorded {
        what: "Confluent's launcher",
        command_line: "java -Xmx1G -Xms1G -server -Dkafka.logs.dir=/var/log/kafka -cp /usr/bin/../share/java/kafka/* \
                       io.confluent.support.metrics.SupportedKafka /etc/kafka/kafka.properties",
        executable: "/usr/lib/jvm/java-17-zulu-openjdk-ca/bin/java",
        files: &[("etc/kafka/kafka.properties", "broker.id=7\n")],
        name: Some("kafka-7"),
    },
    Recorded {
        what: "Strimzi's",
        command_line: "java -Xms512m -Xmx512m -XX:+UseG1GC -javaagent:/opt/kafka/libs/jmx_prometheus_javaagent-1.3.0.jar=9404:/tmp/x.yaml \
                       -cp /opt/kafka/bin/../libs/* kafka.Kafka /tmp/strimzi.properties",
        executable: "/usr/lib/jvm/java-17-openjdk/bin/java",
        files: &[("tmp/strimzi.properties", "node.id=0\nprocess.roles=broker\n")],
        name: Some("kafka-0"),
    },
    Recorded {
        what: "Confluent Server's launcher",
        command_line: "java -Xmx1G -Xms1G -server -XX:+UseG1GC -Djava.awt.headless=true -Dkafka.logs.dir=/var/log/kafka \
                       -Dlog4j.configuration=file:/etc/kafka/log4j.properties \
                       -cp /usr/bin/../share/java/kafka/*:/usr/bin/../share/java/confluent-telemetry/* \
                       kafka.Kafka /etc/kafka/kafka.properties",
        executable: "/usr/lib/jvm/java-17-zulu-openjdk-ca/bin/java",
        files: &[("etc/kafka/kafka.properties", "node.id=4\nprocess.roles=broker\n")],
        name: Some("kafka-4"),
    },
    Recorded {
        what: "Strimzi's with its agent",
        command_line: "java -Xms1024m -Xmx1024m -XX:+UseG1GC -Dsecurerandom.source=file:/dev/urandom \
                       -javaagent:/opt/kafka/libs/kafka-agent-0.45.0.jar=/tmp/kafka-ready:/tmp/kafka-agent.properties \
                       -cp /opt/kafka/bin/../libs/* kafka.Kafka /tmp/strimzi.properties",
        executable: "/usr/lib/jvm/java-17-openjdk/bin/java",
        files: &[("tmp/strimzi.properties", "node.id=3\nprocess.roles=controller\n")],
        name: Some("kafka-controller-3"),
    },
    Recorded {
        what: "Strimzi's tini, its parent",
        command_line: "/usr/bin/tini -w -e 143 -- /opt/kafka/bin/kafka-server-start.sh /tmp/strimzi.properties",
        executable: "/usr/bin/tini",
        files: &[],
        name: None,
    },
    Recorded {
        what: "the native image",
        command_line: "/opt/kafka/kafka.Kafka start --config /opt/kafka/config/server.properties \
                       -Dkafka.logs.dir=/opt/kafka/logs/ -Dcom.sun.management.jmxremote=true",
        executable: "/opt/kafka/kafka.Kafka",
        files: &[BROKER_1],
        name: Some("kafka-1"),
    },
    Recorded {
        what: "the native image as it makes its configuration",
        command_line: "/opt/kafka/kafka.Kafka setup --default-configs-dir /etc/kafka/docker --final-configs-dir /opt/kafka/config",
        executable: "/opt/kafka/kafka.Kafka",
        files: &[BROKER_1],
        name: None,
    },
    Recorded {
        what: "the image's wrapper in a JVM",
        command_line: "java -cp /opt/kafka/libs/* kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker",
        executable: "/opt/java/openjdk/bin/java",
        files: &[BROKER_1],
        name: None,
    },
    Recorded {
        what: "an argument file",
        command_line: "/usr/bin/java @/etc/kafka/jvm.args /opt/kafka/config/server.properties --override node.id=12",
        executable: "/usr/bin/java",
        files: &[BROKER_1, ("etc/kafka/jvm.args", "-Xmx4g\n-cp \"/opt/kafka/libs/*\"\n# the broker\nkafka.Kafka\n")],
        name: Some("kafka-12"),
    },
    Recorded {
        what: "a jar that starts a broker",
        command_line: "java -jar /srv/broker.jar /opt/kafka/config/server.properties",
        executable: "/usr/bin/java",
        // A zip file whose first entry is stored.
        files: &[BROKER_1, ("srv/broker.jar", BROKER_JAR)],
        name: Some("kafka-1"),
    },
    Recorded {
        what: "another jar",
        command_line: "java -jar /srv/app.jar kafka.Kafka",
        executable: "/usr/bin/java",
        files: &[("srv/app.jar", "not even a jar")],
        name: None,
    },
    Recorded {
        what: "a client",
        command_line: "java -cp /opt/kafka/libs/* kafka.tools.ConsoleConsumer --topic kafka.Kafka",
        executable: "/usr/bin/java",
        files: &[],
        name: None,
    },
    Recorded {
        what: "a look for a broker",
        command_line: "pgrep -f kafka.Kafka",
        executable: "/usr/bin/pgrep",
        files: &[],
        name: None,
    },
];

const BROKER_JAR: &str = "PK\x03\x04\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\x18\0\0\0\x18\0\0\0\x14\0\0\0META-INF/MANIFEST.MFMain-Class: kafka.Kafka\n";

#[test]
fn brokers_are_known_by_what_they_run() {
    for recorded in RECORDED {
        let tree = Tree::new();
        let arguments: Vec<_> = recorded.command_line.split_whitespace().collect();
        tree.process(100, 5000, &arguments);
        let (dir, root) = (tree.0.path().join("100"), tree.0.path().join("root-of-100"));
        fs::remove_file(dir.join("exe")).unwrap();
        symlink(recorded.executable, dir.join("exe")).unwrap();
        for (path, text) in recorded.files {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        }
        fs::create_dir_all(&root).unwrap();
        symlink(&root, dir.join("root")).unwrap();
        symlink(&root, dir.join("cwd")).unwrap();
        let found = tree.discovery(vec![Rule::Kafka]).scan(&BTreeSet::new());
        assert_eq!(names(&found), recorded.name.into_iter().collect::<Vec<_>>(), "{}", recorded.what);
    }
}

#[test]
fn those_who_come_first_do_not_keep_others_from_their_turn() {
    let tree = Tree::new();
    let many = u32::try_from(MOST_FOUND).unwrap() + 10;
    for pid in 1000..1000 + many {
        tree.process(pid, 5000, &["burst"]);
    }
    let mut discovery = tree.discovery(vec![Rule::Match(Regex::new("burst").unwrap())]);
    let mut seen = BTreeSet::new();
    // None of them can be watched.
    for _ in 0..3 {
        for found in discovery.scan(&BTreeSet::new()) {
            seen.insert(found.process.pid);
            discovery.forget(found.process.pid);
        }
    }
    assert_eq!(seen.len(), MOST_FOUND + 10);
}

#[test]
fn other_rules_find_other_processes() {
    let tree = Tree::new();
    tree.process(100, 5000, &BROKER);
    tree.process(101, 5000, &["nginx"]);
    let mut discovery = tree.discovery(vec![Rule::Kafka]);
    assert_eq!(names(&discovery.scan(&BTreeSet::new())), ["kafka"]);
    discovery.look_for(vec![Rule::Pid(101)]);
    assert!(discovery.wants(101) && !discovery.wants(100) && !discovery.wants(102));
    assert_eq!(names(&discovery.scan(&["kafka".to_owned()].into())), ["nginx"]);
    // What is watched and still wanted is not found a second time, what comes back is.
    discovery.look_for(vec![Rule::Kafka, Rule::Pid(101)]);
    assert_eq!(names(&discovery.scan(&["nginx".to_owned()].into())), ["kafka"]);
}

/// What may happen between two scans.
#[derive(Clone, Copy, Debug)]
enum Event {
    Starts { pid: u32, is_wanted: bool },
    Ends(u32),
}

fn events() -> impl Strategy<Value = Vec<Vec<Event>>> {
    let event = (0..6u32, 0..3u8).prop_map(|(pid, what)| match what {
        0 => Event::Ends(100 + pid),
        what => Event::Starts { pid: 100 + pid, is_wanted: what == 1 },
    });
    prop::collection::vec(prop::collection::vec(event, 0..4), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever starts, ends and takes whose PID: each wanted process is found once, under a name that nobody else has,
    /// within a round; and nothing is remembered of those that ended.
    #[test]
    fn each_process_is_found_once(events in events()) {
        let tree = Tree::new();
        let mut discovery = tree.discovery(vec![Rule::Match(Regex::new("^wanted").unwrap())]);
        let mut clock = 1000;
        // By PID: start, whether it is wanted, and its name once it is found.
        let mut alive: BTreeMap<u32, (u64, bool, Option<String>)> = BTreeMap::new();
        let quiet = std::iter::repeat_n(Vec::new(), usize::try_from(ROUND).unwrap() + 1);
        for happens in events.into_iter().chain(quiet) {
            for event in happens {
                clock += 1;
                match event {
                    Event::Starts { pid, is_wanted } => {
                        tree.process(pid, clock, &[if is_wanted { "wanted" } else { "other" }]);
                        alive.insert(pid, (clock, is_wanted, None));
                    }
                    Event::Ends(pid) => if alive.remove(&pid).is_some() { tree.end(pid) },
                }
            }
            let running: BTreeSet<String> = alive.values().filter_map(|(_, _, name)| name.clone()).collect();
            for found in discovery.scan(&running) {
                let known = alive.get_mut(&found.process.pid).unwrap();
                prop_assert_eq!(known.0, found.start_ticks);
                prop_assert!(known.1 && known.2.is_none(), "found twice or in vain: {:?}", found);
                prop_assert!(!running.contains(&found.name), "{} is taken", found.name);
                known.2 = Some(found.name);
            }
            let names: Vec<_> = alive.values().filter_map(|(_, _, name)| name.as_ref()).collect();
            prop_assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
        }
        for (pid, (_, is_wanted, name)) in &alive {
            prop_assert_eq!(*is_wanted, name.is_some(), "{}", pid);
        }
        prop_assert!(discovery.judged.keys().all(|pid| alive.contains_key(pid)));
    }
}
