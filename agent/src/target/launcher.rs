//! What `java` makes of its command line: argument files and jars are looked into as the launcher does (`man java`:
//! "java Command-Line Argument Files"; JAR File Specification).

use std::{
    fs::File,
    io::{BufReader, Read},
    path::Path,
};

use flate2::bufread::DeflateDecoder;

/// A manifest is at the beginning of its jar, and small.
const MOST_OF_JAR: u64 = 1 << 20;
/// The manifest is the first entry, or the second behind its directory.
const ENTRIES: usize = 2;
/// `LOCSIG` of a zip file's local header.
const LOCAL_HEADER: [u8; 4] = *b"PK\x03\x04";
/// Flag: sizes come behind the data, with a signature before them and a checksum.
const SIZES_BEHIND: u16 = 1 << 3;
const DESCRIPTOR: u64 = 16;
/// Compression methods.
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

pub(super) fn is_java(executable: Option<&Path>, arguments: &[String]) -> bool {
    super::program(executable, arguments).is_some_and(|program| program == "java")
}

/// Whether what it runs stands in a file: an argument file or a jar.
pub(super) fn refers_to_files(arguments: &[String]) -> bool {
    let before_main = java_main(arguments).map_or(arguments, |main| &arguments[..main]);
    before_main.iter().any(|argument| argument.starts_with('@') || argument == "-jar")
}

/// Puts what argument files (`@file`) hold in their place. The launcher does so up to the main class, and not within
/// such files. One that can't be read stays.
pub(super) fn expand(arguments: Vec<String>, read: impl Fn(&str) -> Option<Vec<u8>>) -> Vec<String> {
    let mut expanded: Vec<String> = Vec::with_capacity(arguments.len());
    for argument in arguments {
        let file = argument.strip_prefix('@').filter(|file| !file.is_empty() && !file.starts_with('@'));
        let is_open = |so_far: &[String]| {
            java_main(so_far).is_none() && !so_far.iter().any(|argument| argument == "--disable-@files")
        };
        match file.filter(|_| is_open(&expanded)).and_then(&read) {
            Some(text) => expanded.extend(words(&String::from_utf8_lossy(&text))),
            None => expanded.push(argument),
        }
    }
    expanded
}

/// The words of an argument file: between white space, in quotes, not behind `#`.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), '\\') => match chars.next() {
                // The line goes on, without its indentation.
                Some('\n') => while chars.next_if(|c| matches!(c, ' ' | '\t')).is_some() {},
                Some(c) => word.get_or_insert_default().push(escaped(c)),
                None => {}
            },
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while chars.next_if(|c| *c != '\n').is_some() {},
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

const fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        't' => '\t',
        'r' => '\r',
        'f' => '\x0c',
        c => c,
    }
}

/// The jar behind `-jar`.
pub(super) fn jar(arguments: &[String]) -> Option<&str> {
    let main = java_main(arguments)?;
    (arguments.get(main.checked_sub(1)?)? == "-jar").then(|| arguments[main].as_str())
}

/// `Main-Class` of a jar's manifest. The jar is read from its beginning, where `jar` and build tools put the manifest: its
/// directory, which lies at the end, may be as large as somebody likes.
pub(super) fn manifest_main(jar: File) -> Option<String> {
    let mut jar = BufReader::new(jar).take(MOST_OF_JAR);
    for _ in 0..ENTRIES {
        let mut header = [0; 30];
        jar.read_exact(&mut header).ok()?;
        let short = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
        let (method, size) = (short(8), u32::from_le_bytes([header[18], header[19], header[20], header[21]]));
        let mut name = vec![0; short(26).into()];
        jar.read_exact(&mut name).ok()?;
        skip(&mut jar, short(28).into())?;
        if !header.starts_with(&LOCAL_HEADER) {
            return None;
        }
        if name.eq_ignore_ascii_case(b"META-INF/MANIFEST.MF") {
            let mut text = Vec::new();
            match method {
                STORED => (&mut jar).take(size.into()).read_to_end(&mut text).ok()?,
                DEFLATED => DeflateDecoder::new(&mut jar).take(MOST_OF_JAR).read_to_end(&mut text).ok()?,
                _ => return None,
            };
            return main_class(&String::from_utf8_lossy(&text));
        }
        if method == DEFLATED && short(6) & SIZES_BEHIND != 0 {
            // The directory, as `jar` writes it.
            std::io::copy(&mut DeflateDecoder::new(&mut jar).take(MOST_OF_JAR), &mut std::io::sink()).ok()?;
            skip(&mut jar, DESCRIPTOR)?;
        } else {
            skip(&mut jar, size.into())?;
        }
    }
    None
}

fn skip(from: &mut impl Read, bytes: u64) -> Option<()> {
    (std::io::copy(&mut from.take(bytes), &mut std::io::sink()).ok()? == bytes).then_some(())
}

fn main_class(manifest: &str) -> Option<String> {
    let of = |line: &str| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case("Main-Class").then(|| value.trim().to_owned())
    };
    manifest.lines().find_map(of).filter(|class| !class.is_empty())
}

/// Index of a JVM's main class, jar or module on its command line (`java --help`: the first argument that is no option,
/// or what follows -jar, -m).
#[must_use]
pub fn java_main(arguments: &[String]) -> Option<usize> {
    /// Options whose value is the next argument.
    const WITH_VALUE: [&str; 11] = [
        "-cp",
        "-classpath",
        "--class-path",
        "-p",
        "--module-path",
        "--upgrade-module-path",
        "--add-modules",
        "--add-exports",
        "--add-opens",
        "--add-reads",
        "--enable-native-access",
    ];
    let mut index = 1;
    while let Some(argument) = arguments.get(index) {
        if ["-jar", "-m", "--module"].contains(&argument.as_str()) {
            return arguments.get(index + 1).map(|_| index + 1);
        }
        if WITH_VALUE.contains(&argument.as_str()) {
            index += 2;
        } else if argument.starts_with('-') || argument.starts_with('@') {
            index += 1;
        } else {
            return Some(index);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Seek, Write};

    use flate2::{Compression, write::DeflateEncoder};
    use proptest::prelude::*;

    use super::*;

    fn line(arguments: &[&str]) -> Vec<String> {
        arguments.iter().map(|argument| (*argument).to_owned()).collect()
    }

    #[test]
    fn argument_files_are_read_as_java_does() {
        let read = |path: &str| {
            (path == "/opt/args")
                .then(|| b"# options\n-Xmx1g -cp \"/opt/my libs/*\"\n  '-Da=b\\\n   c' kafka.Kafka\n".to_vec())
        };
        let expanded = expand(line(&["java", "@/opt/args", "server.properties", "@/opt/args"]), read);
        assert_eq!(
            expanded,
            line(&[
                "java",
                "-Xmx1g",
                "-cp",
                "/opt/my libs/*",
                "-Da=bc",
                "kafka.Kafka",
                "server.properties",
                "@/opt/args"
            ])
        );
        for unchanged in [
            &["java", "@/nothing", "Main"][..],
            &["java", "--disable-@files", "@/opt/args"],
            &["java", "@@/opt/args", "Main"],
            &["java", "Main", "@/opt/args"],
        ] {
            assert_eq!(expand(line(unchanged), read), line(unchanged));
        }
    }

    fn entry(name: &str, text: &str, is_deflated: bool) -> Vec<u8> {
        let (method, data, size) = if is_deflated {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(text.as_bytes()).unwrap();
            // As `jar` does: the size comes behind the data.
            (DEFLATED, encoder.finish().unwrap(), 0)
        } else {
            (STORED, text.as_bytes().to_vec(), u32::try_from(text.len()).unwrap())
        };
        let mut bytes = LOCAL_HEADER.to_vec();
        bytes.extend([20, 0, if is_deflated { 8 } else { 0 }, 0]);
        bytes.extend(method.to_le_bytes());
        bytes.extend([0; 8]);
        bytes.extend(size.to_le_bytes());
        bytes.extend(size.to_le_bytes());
        bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        bytes.extend([4, 0]);
        bytes.extend(name.as_bytes());
        bytes.extend([0xfe, 0xca, 0, 0]);
        bytes.extend(data);
        if is_deflated {
            bytes.extend(b"PK\x07\x08");
            bytes.extend([0; 12]);
        }
        bytes
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[test]
    fn a_jar_says_what_it_runs() {
        let manifest = "Manifest-Version: 1.0\r\nMain-Class: kafka.Kafka\r\n\r\n";
        for is_deflated in [false, true] {
            let alone = entry("META-INF/MANIFEST.MF", manifest, is_deflated);
            assert_eq!(manifest_main(file(&alone)).as_deref(), Some("kafka.Kafka"));
            let second = [entry("META-INF/", "", is_deflated), alone, b"PK and so on".to_vec()].concat();
            assert_eq!(manifest_main(file(&second)).as_deref(), Some("kafka.Kafka"));
        }
        let none = entry("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n", true);
        assert_eq!(manifest_main(file(&none)), None);
        assert_eq!(jar(&line(&["java", "-Xmx1g", "-jar", "/srv/a.jar", "x"])), Some("/srv/a.jar"));
        assert_eq!(jar(&line(&["java", "Main", "-jar", "/srv/a.jar"])), None);
    }

    #[test]
    fn a_jar_that_grows_as_it_is_unpacked_is_read_to_a_limit() {
        let bomb = entry("META-INF/MANIFEST.MF", &"x".repeat(64 << 20), true);
        assert_eq!(manifest_main(file(&bomb)), None);
    }

    proptest! {
        #[test]
        fn no_file_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC*") {
            manifest_main(file(&bytes));
            manifest_main(file(&[entry("META-INF/", "", false), bytes].concat()));
            words(&text);
        }
    }
}
