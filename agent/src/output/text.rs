//! Text that is safe for a terminal: names that come from elsewhere, inks, and lines of a given width.

use anstyle::{Ansi256Color, Color, Style as Ansi};
use textwrap::{Options, WordSeparator, WordSplitter, wrap};
use unicode_width::UnicodeWidthStr;

/// What a colour or weight means. Only two colours carry meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// No more than the words.
    Plain,
    /// Bytes that left by zero copy.
    ZeroCopy,
    /// Bytes that were copied.
    Copied,
    /// Headings and sums.
    Strong,
    /// Explanations.
    Faint,
}

/// Marks in a text stand for escape sequences until [`resolve`]. They are as wide as nothing, so tables and lines come
/// out right with them, and no name holds one after [`clean`].
const END: char = '\u{2060}';
const MARKS: [(char, Ink); 4] =
    [('\u{2061}', Ink::ZeroCopy), ('\u{2062}', Ink::Copied), ('\u{2063}', Ink::Strong), ('\u{2064}', Ink::Faint)];
/// A space at which no line is broken.
const TIED: char = '\u{a0}';

impl Ink {
    /// Okabe and Ito's blue and vermilion, which the colour-blind tell apart, in shades that can be read on black and on
    /// white.
    fn ansi(self) -> Ansi {
        let color = |number| Ansi::new().fg_color(Some(Color::Ansi256(Ansi256Color(number))));
        match self {
            Self::Plain => Ansi::new(),
            Self::ZeroCopy => color(32),
            Self::Copied => color(166),
            Self::Strong => Ansi::new().bold(),
            Self::Faint => Ansi::new().dimmed(),
        }
    }

    /// The text in this ink.
    pub(super) fn on(self, text: &str) -> String {
        match MARKS.iter().find(|(_, ink)| *ink == self) {
            Some((mark, _)) if !text.is_empty() => format!("{mark}{text}{END}"),
            _ => text.to_owned(),
        }
    }
}

/// Marks become escape sequences, or nothing; tied spaces become spaces.
pub(super) fn resolve(text: &str, color: bool) -> String {
    let mut resolved = String::with_capacity(text.len());
    for c in text.chars() {
        let ink = MARKS.iter().find(|(mark, _)| *mark == c).map(|(_, ink)| *ink);
        match (c, ink) {
            (_, Some(ink)) if color => resolved.push_str(&ink.ansi().render().to_string()),
            (END, None) if color => resolved.push_str(&anstyle::Reset.render().to_string()),
            (_, Some(_)) | (END, None) => {}
            (TIED, None) => resolved.push(' '),
            (c, None) => resolved.push(c),
        }
    }
    resolved
}

/// A name from a file, topic, process or configuration, with everything escaped that a terminal could take for an order
/// or that could not be seen: control characters, invisible ones, those that turn the direction of writing.
pub(super) fn clean(name: &str, unicode: bool) -> String {
    let mut clean = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            // `escape_debug` is about Rust's literals, where these three need a backslash too.
            '\'' | '"' | '\\' => clean.push(c),
            c if !unicode => clean.extend(c.escape_default()),
            c => clean.extend(c.escape_debug()),
        }
    }
    clean
}

/// A sentence from elsewhere, see [`clean`]: its white space is only space between words.
pub(super) fn clean_sentence(sentence: &str, unicode: bool) -> String {
    sentence.split_whitespace().map(|word| clean(word, unicode)).collect::<Vec<_>>().join(" ")
}

/// Columns that a text takes: those of its widest line.
pub(super) fn width(text: &str) -> usize {
    text.lines().map(UnicodeWidthStr::width).max().unwrap_or(0)
}

/// A text whose spaces are no places to break a line.
pub(super) fn tied(text: &str) -> String {
    text.replace(' ', "\u{a0}")
}

/// A paragraph broken between words, its first line after `first`, the others after `rest`; ends with a line end. A
/// number stays together with its unit.
pub(super) fn paragraph(text: &str, width: usize, first: &str, rest: &str) -> String {
    let options = Options::new(width)
        .initial_indent(first)
        .subsequent_indent(rest)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation);
    let text = tie_units(text);
    wrap(&text, options).iter().fold(String::new(), |lines, line| lines + line.trim_end() + "\n")
}

/// Ties what stands after a digit to it, if it is a unit.
fn tie_units(text: &str) -> String {
    const UNITS: [&str; 12] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "%", "s", "x", "×", "bytes"];
    let mut words = text.split(' ').peekable();
    let mut tied = String::with_capacity(text.len());
    while let Some(word) = words.next() {
        tied.push_str(word);
        let is_unit = |next: &&str| UNITS.contains(&next.trim_end_matches([',', '.', ';', ':', ')']));
        match words.peek() {
            Some(next) if word.ends_with(|c: char| c.is_ascii_digit()) && is_unit(next) => tied.push(TIED),
            Some(_) => tied.push(' '),
            None => {}
        }
    }
    tied
}

/// A name in lines of at most `width`, broken after its own separators where there are any; no number is broken unless
/// it alone is wider.
pub(super) fn break_name(name: &str, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for piece in pieces(name) {
        if !line.is_empty() && self::width(&line) + self::width(piece) > width {
            lines.push_str(&line);
            lines.push('\n');
            line.clear();
        }
        for c in piece.chars() {
            if self::width(&line) >= width {
                lines.push_str(&line);
                lines.push('\n');
                line.clear();
            }
            line.push(c);
        }
    }
    lines + &line
}

/// Names one after the other, in as few lines of at most `width` as they need; one is broken only if it is wider.
pub(super) fn pack(names: &[&str], width: usize) -> String {
    let mut lines = String::new();
    for name in names.iter().filter(|name| !name.is_empty()) {
        let last = self::width(lines.lines().last().unwrap_or_default());
        match last {
            0 => {}
            _ if last + 2 + self::width(name) <= width => lines.push_str("  "),
            _ => lines.push('\n'),
        }
        lines.push_str(&break_name(name, width));
    }
    lines
}

/// Runs of letters and digits, each with the separators behind it; a last number keeps the separator before it, as the
/// `-12` of a partition.
fn pieces(name: &str) -> Vec<&str> {
    let is_separator = |c: char| matches!(c, '.' | '-' | '_' | '/' | ' ' | ',' | ':');
    let digits = name.chars().rev().take_while(char::is_ascii_digit).count();
    let tail = match name.len() - digits {
        0 => 0,
        start if digits > 0 && name[..start].ends_with('-') => start - 1,
        start => start,
    };
    let (head, tail) = name.split_at(tail);
    head.split_inclusive(is_separator).chain((!tail.is_empty()).then_some(tail)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_of_a_name_commands_the_terminal() {
        for (name, text) in [
            ("orders-0", "orders-0"),
            ("\u{1b}[2J\u{1b}]0;owned\u{7}", "\\u{1b}[2J\\u{1b}]0;owned\\u{7}"),
            ("a\r\n\tb", "a\\r\\n\\tb"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("\u{7f}", "\\u{7f}"),
            ("abc\u{202e}cba", "abc\\u{202e}cba"),
            ("zero\u{200b}width\u{2063}", "zero\\u{200b}width\\u{2063}"),
            ("line\u{2028}", "line\\u{2028}"),
            ("tied\u{a0}", "tied\\u{a0}"),
            ("it's \"C:\\x\"", "it's \"C:\\x\""),
            ("Größe 日本", "Größe 日本"),
        ] {
            assert_eq!(clean(name, true), text);
        }
        assert_eq!(clean("Größe\u{1b}", false), "Gr\\u{f6}\\u{df}e\\u{1b}");
        assert_eq!(clean_sentence(" a \n b\u{1b}\tc ", true), "a b\\u{1b} c");
    }

    #[test]
    fn inks_are_escape_sequences_or_nothing_and_have_no_width() {
        let text = format!("{} and {}", Ink::ZeroCopy.on("1 MiB"), Ink::Strong.on("total"));
        assert_eq!(width(&text), width("1 MiB and total"));
        assert_eq!(resolve(&text, false), "1 MiB and total");
        assert_eq!(resolve(&text, true), "\u{1b}[38;5;32m1 MiB\u{1b}[0m and \u{1b}[1mtotal\u{1b}[0m");
        assert_eq!(Ink::Plain.on("x"), "x");
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        let text = resolve(&paragraph("egress was 812 MiB, 49.83 % of it by zero copy", 16, "- ", "  "), false);
        assert_eq!(text, "- egress was\n  812 MiB,\n  49.83 % of it\n  by zero copy\n");
    }

    #[test]
    fn names_break_after_separators() {
        assert_eq!(break_name("com.example.orders.v1-12", 12), "com.example.\norders.v1-12");
        assert_eq!(break_name("com.example.orders.v1-123", 12), "com.example.\norders.v1\n-123");
        assert_eq!(break_name("short-1", 12), "short-1");
        assert_eq!(break_name("abcdefghijklmno", 6), "abcdef\nghijkl\nmno");
        assert_eq!(break_name("", 6), "");
        assert_eq!(break_name("123456", 6), "123456");
    }

    #[test]
    fn names_are_packed_whole() {
        assert_eq!(pack(&["write", "memory -> socket", "SSL :9093"], 40), "write  memory -> socket  SSL :9093");
        assert_eq!(pack(&["write", "memory -> socket", "", "SSL :9093"], 32), "write  memory -> socket\nSSL :9093");
        assert_eq!(pack(&["a-very-long-name", "b"], 10), "a-very-\nlong-name\nb");
        assert_eq!(pack(&[], 10), "");
    }

    proptest! {
        #[test]
        fn broken_names_are_whole_and_narrow(name in "[a-z0-9./_ -]{0,40}", width in 4usize..30) {
            let broken = break_name(&name, width);
            prop_assert_eq!(broken.replace('\n', ""), name);
            prop_assert!(broken.lines().all(|line| line.len() <= width), "{broken}");
        }

        #[test]
        fn clean_names_print_as_they_are(name in any::<String>(), unicode in any::<bool>()) {
            let clean = clean(&name, unicode);
            prop_assert!(!clean.chars().any(char::is_control));
            prop_assert_eq!(resolve(&clean, true), clean.clone());
            prop_assert!(unicode || clean.is_ascii());
        }
    }
}
