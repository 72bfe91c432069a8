//! Kafka from Maven Central, and the load client compiled against it.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{KafkaError, run, write};
use crate::cache;
use crate::tools;

/// The version that is brought.
pub const KAFKA_VERSION: &str = "4.1.2";
/// A version that still converts messages for consumers of old formats (Kafka 4 does not).
pub const KAFKA_VERSION_THAT_CONVERTS: &str = "3.9.1";

/// The load client: one Java source file.
const LOAD_SOURCE: &str = include_str!("../../java/Load.java");
const COPY_SOURCE: &str = include_str!("../../java/CopyEngineFactory.java");

/// What Maven is asked for. Kafka's own distribution takes the same log4j.
const POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zctrace.testkit</groupId>
  <artifactId>kafka</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>KAFKA_VERSION</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-core</artifactId><version>2.24.3</version>
    </dependency>
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.24.3</version>
    </dependency>MORE
  </dependencies>
</project>
"#;

/// Kafka's own tests' remote storage, a folder: `LocalTieredStorage`, which needs nothing but Kafka's jars.
const TIERED_POM: &str = r#"<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>zctrace.testkit</groupId>
  <artifactId>kafka-tiered</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka-storage</artifactId><version>KAFKA_VERSION</version>
      <classifier>test</classifier>
      <exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>
    </dependency>
  </dependencies>
</project>
"#;

/// What Kafka 3 needs beside: its own classes name those of log4j 1.
const FOR_KAFKA_3: &str = r#"
    <dependency>
      <groupId>org.apache.logging.log4j</groupId><artifactId>log4j-1.2-api</artifactId><version>2.24.3</version>
    </dependency>"#;

/// The plug-in that copies the jars; its version is said, so that Maven's own default decides nothing.
const COPY_JARS: &str = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";

/// An installed Kafka: its jars and the compiled load client, in the cache.
#[derive(Clone, Debug)]
pub struct Kafka {
    pub(super) java: PathBuf,
    pub(super) keytool: PathBuf,
    /// Every jar by its full name, as Kafka's own start script lists them.
    pub(super) class_path: String,
    pub(super) load_classes: PathBuf,
}

impl Kafka {
    /// Says whether the programs are there that [`Kafka::install`] needs: `java`, `javac`, `keytool`, `mvn`.
    ///
    /// # Errors
    /// [`tools::Missing`], with all that are not there and the command that brings them.
    pub fn check() -> Result<(), tools::Missing> {
        tools::require(&[tools::JAVA, tools::JAVAC, tools::KEYTOOL, tools::MVN])
    }

    /// Brings Kafka into the cache where it is not there yet: 46 jars, 43 MB. `progress` is told each step.
    ///
    /// # Errors
    /// Missing programs, an old Java, no way to Maven Central, a cache that cannot be written.
    pub fn install(progress: &dyn Fn(&str)) -> Result<Self, KafkaError> {
        Self::install_version(KAFKA_VERSION, progress)
    }

    /// The same with another version.
    ///
    /// # Errors
    /// As [`Kafka::install`].
    pub fn install_version(version: &str, progress: &dyn Fn(&str)) -> Result<Self, KafkaError> {
        Self::check()?;
        let find = |tool: tools::Tool| tool.find().ok_or(tools::Missing(vec![tool]));
        let (java, javac, mvn) = (find(tools::JAVA)?, find(tools::JAVAC)?, find(tools::MVN)?);
        let keytool = find(tools::KEYTOOL)?;
        require_java_17(&java)?;

        let root = cache::root()?;
        let more = if version.starts_with("3.") { FOR_KAFKA_3 } else { "" };
        let pom = POM.replace("KAFKA_VERSION", version).replace("MORE", more);
        let jars = cache::ensure(&root, &format!("kafka-{version}"), &pom, |folder| {
            progress(&format!("bringing Kafka {version} from Maven Central (43 MB)"));
            bring_jars(&mvn, folder, &pom, progress)
        })?;
        let class_path = class_path(&jars.join("jars"))?;
        let recipe = format!("{version} --release 17\n{LOAD_SOURCE}{COPY_SOURCE}");
        let load_classes = cache::ensure(&root, "kafka-load", &recipe, |folder| {
            progress("compiling the load client");
            let source = write(folder.join("Load.java"), LOAD_SOURCE)?;
            let copy = write(folder.join("CopyEngineFactory.java"), COPY_SOURCE)?;
            let mut compile = Command::new(&javac);
            compile.args(["--release", "17", "-cp", &class_path, "-d"]).arg(folder).arg(source).arg(copy);
            run::run("compiling the load client", compile, &|_| ()).map(drop)
        })?;
        Ok(Self { java, keytool, class_path, load_classes })
    }

    /// The same with what [`super::BrokerOptions::remote_storage`] needs: the test jar of Kafka's storage, 0.5 MB. Of
    /// [`KAFKA_VERSION`] only.
    ///
    /// # Errors
    /// As [`Kafka::install`].
    pub fn with_remote_storage(mut self, progress: &dyn Fn(&str)) -> Result<Self, KafkaError> {
        let mvn = tools::MVN.find().ok_or(tools::Missing(vec![tools::MVN]))?;
        let pom = TIERED_POM.replace("KAFKA_VERSION", KAFKA_VERSION);
        let jars = cache::ensure(&cache::root()?, &format!("kafka-tiered-{KAFKA_VERSION}"), &pom, |folder| {
            progress("bringing Kafka's remote storage for tests from Maven Central (0.5 MB)");
            bring_jars(&mvn, folder, &pom, progress)
        })?;
        self.class_path = format!("{}:{}", self.class_path, class_path(&jars.join("jars"))?);
        Ok(self)
    }
}

fn bring_jars(mvn: &Path, folder: &Path, pom: &str, progress: &dyn Fn(&str)) -> Result<(), KafkaError> {
    let pom = write(folder.join("pom.xml"), pom)?;
    let mut bring = Command::new(mvn);
    bring.args(["--batch-mode", "-Dstyle.color=never", COPY_JARS, "-DincludeScope=runtime", "-f"]).arg(pom);
    bring.arg(format!("-DoutputDirectory={}", folder.join("jars").display()));
    run::run("bringing Kafka from Maven Central", bring, &|line| {
        if let Some(jar) = downloaded_jar(line) {
            progress(&format!("downloaded {jar}"));
        }
    })
    .map(drop)
}

/// The jar's file name in a line of Maven's such as `Downloaded from central: https://.../x-1.jar (6.1 MB at 2 MB/s)`.
fn downloaded_jar(line: &str) -> Option<&str> {
    let (_, address) = line.split_once("Downloaded from ")?;
    address.split_whitespace().filter_map(|word| word.rsplit('/').next()).find(|name| name.ends_with(".jar"))
}

fn class_path(jars: &Path) -> Result<String, KafkaError> {
    let unreadable = || KafkaError::io(format!("cannot list {}", jars.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(jars).map_err(unreadable())? {
        names.push(entry.map_err(unreadable())?.path().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names.join(":"))
}

fn require_java_17(java: &Path) -> Result<(), KafkaError> {
    let mut ask = Command::new(java);
    // `--version` writes to standard output; Java 8 knows only `-version`, and fails.
    ask.arg("--version");
    let answer = run::run("java --version", ask, &|_| ()).unwrap_or_default();
    match major_version(&answer) {
        Some(17..) => Ok(()),
        _ => Err(KafkaError::OldJava { found: answer.lines().next().unwrap_or("nothing").to_owned() }),
    }
}

/// The major version in an answer such as `openjdk 17.0.15 2025-04-15`.
fn major_version(answer: &str) -> Option<u32> {
    answer.split_whitespace().nth(1)?.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn versions_of_java_are_read() {
        assert_eq!(major_version("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major_version("java 21 2023-09-19 LTS"), Some(21));
        assert_eq!(major_version("openjdk 25-ea 2025-09-16"), Some(25));
        assert_eq!(major_version("openjdk 11.0.2 2019-01-15"), Some(11));
        assert_eq!(major_version("Unrecognized option: --version"), None);
    }

    #[test]
    fn a_line_of_maven_names_its_jar() {
        let line = "[INFO] Downloaded from central: https://repo.example/a/kafka-raft-4.1.2.jar (1.1 MB at 9.9 MB/s)";
        assert_eq!(downloaded_jar(line), Some("kafka-raft-4.1.2.jar"));
        assert_eq!(downloaded_jar("[INFO] Downloaded from central: https://repo.example/a/x.pom (1 kB)"), None);
        assert_eq!(downloaded_jar("[INFO] Downloading from central: https://repo.example/a/x.jar"), None);
    }
}
