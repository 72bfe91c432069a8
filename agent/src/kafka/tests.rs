#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::{fs, os::unix::fs::symlink};

use proptest::prelude::*;

use super::*;
use crate::target::CommandLine;

fn process(arguments: &[&str]) -> Process {
    let command_line = CommandLine::new(arguments.iter().map(|argument| (*argument).to_owned()).collect());
    Process {
        pid: 77,
        comm: "java".to_owned(),
        command_line,
        command: "kafka.Kafka".to_owned(),
        compat: Some(false),
        is_jvm: true,
        jar_main: None,
    }
}

/// A /proc whose process 77 has a root of its own, with these files.
fn container(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("container");
    for (path, text) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir_all(root.join("opt/kafka")).unwrap();
    let process = dir.path().join("77");
    fs::create_dir_all(&process).unwrap();
    symlink(&root, process.join("root")).unwrap();
    symlink(root.join("opt/kafka"), process.join("cwd")).unwrap();
    dir
}

const CONFIG: &str = "node.id=3\nprocess.roles=broker,controller\n\
    listeners=PLAINTEXT://:9092, internal://0.0.0.0:9094,SSL://[::1]:9093,CONTROLLER://:9095\n\
    listener.security.protocol.map=PLAINTEXT:PLAINTEXT,INTERNAL:SASL_PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT\n\
    log.dirs=/data/a,/data/b\nssl.key.password=hunter2\n";

#[test]
fn a_broker_in_a_container_is_read_from_its_own_root() {
    let proc = container(&[
        ("opt/kafka/config/server.properties", CONFIG),
        ("data/a/meta.properties", "version=1\ncluster.id=abc-DEF_1\nnode.id=3\n"),
        ("opt/kafka/libs/kafka-server-common-4.1.2.jar", ""),
        ("opt/kafka/libs/kafka_2.13-4.1.2.jar", ""),
    ]);
    let broker = broker(proc.path(), &process(&["java", "-cp", "libs/*", "kafka.Kafka", "config/server.properties"]));
    assert_eq!(broker.node_id, Some(3));
    assert_eq!(broker.roles, ["broker", "controller"]);
    assert_eq!(broker.cluster_id.as_deref(), Some("abc-DEF_1"));
    assert_eq!(broker.version.as_deref(), Some("4.1.2"));
    assert_eq!(broker.config.as_deref(), Some("config/server.properties"));
    let told: Vec<_> =
        broker.listeners.iter().map(|l| (l.name.as_str(), l.protocol.as_deref().unwrap(), l.port)).collect();
    assert_eq!(
        told,
        [
            ("PLAINTEXT", "PLAINTEXT", 9092),
            ("INTERNAL", "SASL_PLAINTEXT", 9094),
            ("SSL", "SSL", 9093),
            ("CONTROLLER", "PLAINTEXT", 9095)
        ]
    );
    let used_by: Vec<_> = broker.listeners.iter().map(|l| l.used_by).collect();
    assert_eq!(
        used_by,
        [UsedBy::BrokersAndClients, UsedBy::Clients, UsedBy::Clients, UsedBy::Clients],
        "PLAINTEXT is the brokers' protocol unless another is named"
    );
    assert_eq!(broker.listeners[2].host, "::1");
    let inode = std::os::unix::fs::MetadataExt::ino(&fs::metadata(proc.path().join("container/data/a")).unwrap());
    assert_eq!((broker.log_dirs[0].path.as_str(), broker.log_dirs[0].inode), ("/data/a", Some(inode)));
    assert!(broker.log_dirs[0].mount_id.is_some());
    assert_eq!(broker.log_dirs[1].inode, None);
    assert_eq!(broker.problems.len(), 1, "{:?}", broker.problems);
    assert!(broker.problems[0].contains("/data/b"));
}

#[test]
fn a_link_in_a_container_does_not_lead_out_of_it() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "listeners=OUTSIDE://:1\n").unwrap();
    let proc = container(&[]);
    symlink(secret.path(), proc.path().join("container/opt/kafka/server.properties")).unwrap();
    let broker = broker(proc.path(), &process(&["java", "kafka.Kafka", "server.properties"]));
    assert_eq!(broker.listeners, []);
    assert!(broker.problems[0].contains("can't be read"), "{:?}", broker.problems);
}

#[test]
fn without_access_the_capabilities_are_named() {
    let proc = tempfile::tempdir().unwrap();
    let broker = broker(proc.path(), &process(&["java", "kafka.Kafka", "server.properties"]));
    assert!(broker.problems[0].contains("CAP_SYS_PTRACE"), "{:?}", broker.problems);
}

fn parse(text: &str, arguments: &[&str]) -> (Vec<Listener>, Vec<String>) {
    let mut problems = Vec::new();
    let config = config::of(text, arguments, &mut problems);
    (listeners::listeners(&config, &mut problems), problems)
}

#[test]
fn who_connects_to_a_listener_is_told_where_the_configuration_tells() {
    use UsedBy::{Brokers, BrokersAndClients, Clients, Controllers};
    const BOTH: &str = "listeners=INT://:1,EXT://:2\nlistener.security.protocol.map=INT:PLAINTEXT,EXT:SSL\n";
    for (text, expected) in [
        (format!("{BOTH}inter.broker.listener.name=int"), vec![Brokers, Clients]),
        // Kafka would not start with it, since there is no listener PLAINTEXT: nothing is for brokers here.
        (BOTH.to_owned(), vec![Clients, Clients]),
        (
            "listeners=SSL://:1,PLAINTEXT://:2\nsecurity.inter.broker.protocol=SSL".to_owned(),
            vec![BrokersAndClients, Clients],
        ),
        ("inter.broker.listener.name=PLAINTEXT".to_owned(), vec![BrokersAndClients]),
        (
            "listeners=PLAINTEXT://:1,CTRL://:2\ncontroller.listener.names=CTRL\ninter.broker.listener.name=PLAINTEXT"
                .to_owned(),
            vec![BrokersAndClients, Controllers],
        ),
        (
            "listeners=C://:1,B://:2,E://:3\ncontrol.plane.listener.name=c\ninter.broker.listener.name=B".to_owned(),
            vec![Controllers, Brokers, Clients],
        ),
    ] {
        let (listeners, _) = parse(&text, &[]);
        assert_eq!(listeners.iter().map(|listener| listener.used_by).collect::<Vec<_>>(), expected, "{text}");
    }
}

#[test]
fn kafkas_defaults_and_odd_entries() {
    let (listeners, problems) = parse("", &[]);
    assert_eq!((listeners[0].name.as_str(), listeners[0].port, problems.len()), ("PLAINTEXT", 9092, 0));
    let (listeners, _) = parse("listeners=SSL://h:1,CTRL://:2\ncontroller.listener.names=CTRL", &[]);
    assert_eq!(listeners[0].protocol.as_deref(), Some("SSL"));
    assert_eq!(listeners[1].protocol.as_deref(), Some("PLAINTEXT"));
    let (listeners, problems) = parse("listeners=A://:0,B://:70000,nonsense,C://:5", &[]);
    assert_eq!(listeners.len(), 1);
    assert_eq!((listeners[0].name.as_str(), &listeners[0].protocol), ("C", &None));
    assert_eq!(problems.len(), 3, "{problems:?}");
    let (listeners, problems) = parse("listeners=${env:LISTENERS}", &[]);
    assert_eq!(listeners[0].port, 9092);
    assert!(problems[0].contains("`listeners`"), "{problems:?}");
}

#[test]
fn overrides_win_in_both_spellings() {
    let (listeners, _) = parse("listeners=A://:1", &["x.properties", "--override", "listeners=B://:2"]);
    assert_eq!(listeners[0].name, "B");
    let (listeners, _) = parse("listeners=A://:1", &["x.properties", "--override=listeners=C://:3"]);
    assert_eq!(listeners[0].name, "C");
}

#[test]
fn only_what_runs_a_broker_is_one() {
    let mut process = process(&["java"]);
    for (command, is) in [
        ("kafka.Kafka", true),
        ("io.confluent.support.metrics.SupportedKafka", true),
        ("kafka.docker.KafkaDockerWrapper", true),
        ("kafka.tools.StorageTool", false),
        ("org.apache.zookeeper.server.quorum.QuorumPeerMain", false),
        ("sh", false),
    ] {
        process.command = command.to_owned();
        assert_eq!(detect(&process), is, "{command}");
    }
    process.command = "kafka-app.jar".to_owned();
    assert!(!detect(&process));
    process.jar_main = Some("kafka.Kafka".to_owned());
    assert!(detect(&process), "a jar that starts a broker");
}

#[test]
fn what_makes_a_containers_configuration_is_no_broker() {
    for (arguments, is) in [
        (&["/opt/kafka/kafka.Kafka", "setup", "--default-configs-dir", "/etc/kafka/docker"][..], false),
        (&["/opt/kafka/kafka.Kafka", "start", "--config", "/opt/kafka/config/server.properties"], true),
    ] {
        let process = Process { command: "kafka.Kafka".to_owned(), is_jvm: false, ..process(arguments) };
        assert_eq!(detect(&process), is, "{arguments:?}");
    }
}

#[test]
fn the_native_image_is_read_by_its_own_options() {
    let proc = container(&[("opt/kafka/config/server.properties", CONFIG)]);
    for config in [
        &["--config", "/opt/kafka/config/server.properties"][..],
        &["-C", "config/server.properties"],
        &["--config=/opt/kafka/config/server.properties"],
    ] {
        let arguments = [&["/opt/kafka/kafka.Kafka", "start"][..], config, &["-Dkafka.logs.dir=/opt/kafka/logs/"]];
        let process = Process { is_jvm: false, ..process(&arguments.concat()) };
        assert_eq!(broker(proc.path(), &process).node_id, Some(3), "{config:?}");
    }
}

#[test]
fn directories_and_files_as_kafka_names_them() {
    let of = |name: &str| TopicPartition::from_directory(name).map(|of| (of.topic, of.partition));
    assert_eq!(of("orders-0"), Some(("orders".to_owned(), 0)));
    assert_eq!(of("my.topic-with-dashes-12"), Some(("my.topic-with-dashes".to_owned(), 12)));
    assert_eq!(of("__cluster_metadata-0"), Some(("__cluster_metadata".to_owned(), 0)));
    let id = "0123456789abcdef0123456789abcdef";
    assert_eq!(of(&format!("orders-3.{id}-delete")), Some(("orders".to_owned(), 3)));
    assert_eq!(of(&format!("orders-3.{id}-future")), Some(("orders".to_owned(), 3)));
    assert_eq!(of(&format!("orders-3.{id}-stray")), Some(("orders".to_owned(), 3)));
    for no in
        ["", "-", "-1", "orders", "orders-", "orders-01", "orders-x", "..-1", "a b-1", "o-2147483648", "x-3-delete"]
    {
        assert_eq!(of(no), None, "{no}");
    }
    for yes in ["00000000000000000000.log", "00000000000000000042.log.deleted", "00000000000000000042.log.swap"] {
        assert!(is_segment(yes), "{yes}");
    }
    for no in ["0.log", "00000000000000000000.index", "00000000000000000000.log.x", "leader-epoch-checkpoint", ".log"] {
        assert!(!is_segment(no), "{no}");
    }
}

proptest! {
    #[test]
    fn every_topic_and_partition_survives_its_directory(topic in "[a-zA-Z0-9._-]{1,249}", partition in 0..i32::MAX) {
        prop_assume!(topic != "." && topic != "..");
        let partition = u32::try_from(partition).unwrap();
        let of = TopicPartition::from_directory(&format!("{topic}-{partition}"));
        prop_assert_eq!(of, Some(TopicPartition { topic, partition }));
    }

    #[test]
    fn no_name_panics(name in "\\PC*") {
        let _ = TopicPartition::from_directory(&name);
        let _ = is_segment(&name);
    }

    #[test]
    fn every_listener_is_read_back(name in "[A-Z][A-Z0-9_]{0,20}", port in 1u16.., ipv6 in any::<bool>()) {
        let host = if ipv6 { "[::1]" } else { "host.example" };
        let (listeners, problems) = parse(&format!("listeners={name}://{host}:{port}"), &[]);
        prop_assert_eq!(problems, Vec::<String>::new());
        prop_assert_eq!((&listeners[0].name, listeners[0].port), (&name, port));
    }

    #[test]
    fn no_secret_is_kept_or_told(
        secret in "s3cr3t[a-zA-Z0-9]{4,20}",
        key in prop::sample::select(vec![
            "ssl.key.password", "ssl.keystore.password", "sasl.jaas.config", "listener.name.ssl.ssl.key.password",
            "listeners.password", "password.encoder.secret",
        ]),
        rest in "(\\\\u12)?[ -~]{0,30}",
    ) {
        let text = format!("listeners=A://:1,x\n{key}={secret}\n{rest}\n");
        let over = format!("{key}={secret}");
        let mut problems = Vec::new();
        let config = config::of(&text, &["f", "--override", &over], &mut problems);
        let listeners = listeners::listeners(&config, &mut problems);
        let told = format!("{config:?} {listeners:?} {problems:?}");
        prop_assert!(!told.contains(&secret), "{}", told);
    }
}
