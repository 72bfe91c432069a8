//! How the tables look: width, colours, characters, decided from what is known of the place they are written to.

use rustix::termios;

/// Width where nobody says one and there is no terminal.
const WIDTH_OF_A_FILE: usize = 120;
/// Width of a terminal that does not tell its own.
const WIDTH_OF_A_TERMINAL: usize = 80;
/// Below this nothing fits: lines are as wide as this and the terminal breaks them.
const NARROWEST: usize = 20;

/// How byte counts are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bytes {
    /// Three or four digits and an IEC unit: `812 MiB`.
    #[default]
    Human,
    /// Every digit: `851,443,712`.
    Exact,
}

/// How the tables look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// Columns of the terminal.
    pub width: usize,
    /// Escape sequences for colours and bold text.
    pub color: bool,
    /// Form of byte counts.
    pub bytes: Bytes,
    /// Characters outside of ASCII.
    pub unicode: bool,
    /// Every topic-partition and file, not only the largest.
    pub all: bool,
}

impl Default for Style {
    /// Of a file: no colours, ASCII only.
    fn default() -> Self {
        Self { width: WIDTH_OF_A_FILE, color: false, bytes: Bytes::Human, unicode: false, all: false }
    }
}

/// What a [`Style`] is decided from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// Stdout is a terminal.
    pub terminal: bool,
    /// What the terminal says of its width, in columns; 0 from some that do not know.
    pub terminal_width: Option<u16>,
    /// `COLUMNS`: goes before what the terminal says.
    pub columns: Option<String>,
    /// `NO_COLOR` (<https://no-color.org>): no colours if it is not empty, whatever else is set.
    pub no_color: Option<String>,
    /// `CLICOLOR_FORCE` (<https://bixense.com/clicolors>): colours even in a pipe, unless empty or `0`.
    pub clicolor_force: Option<String>,
    /// `CLICOLOR`: no colours if `0`.
    pub clicolor: Option<String>,
    /// `TERM`: no colours if `dumb` or missing.
    pub term: Option<String>,
    /// The first of `LC_ALL`, `LC_CTYPE` and `LANG` that is not empty: the locale of characters (`setlocale(3)`).
    pub locale: Option<String>,
}

impl Surroundings {
    /// Those of this process and its stdout.
    #[must_use]
    pub fn detect() -> Self {
        let stdout = rustix::stdio::stdout();
        let variable = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Self {
            terminal: termios::isatty(stdout),
            terminal_width: termios::tcgetwinsize(stdout).ok().map(|size| size.ws_col),
            columns: variable("COLUMNS"),
            no_color: variable("NO_COLOR"),
            clicolor_force: variable("CLICOLOR_FORCE"),
            clicolor: variable("CLICOLOR"),
            term: variable("TERM"),
            locale: ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty()),
        }
    }

    fn width(&self) -> usize {
        let columns =
            self.columns.as_deref().and_then(|columns| columns.trim().parse().ok()).filter(|width| *width > 0);
        let terminal = self.terminal_width.map(usize::from).filter(|width| *width > 0);
        let width = match (columns, self.terminal) {
            (Some(columns), _) => columns,
            (None, true) => terminal.unwrap_or(WIDTH_OF_A_TERMINAL),
            (None, false) => WIDTH_OF_A_FILE,
        };
        width.max(NARROWEST)
    }

    fn color(&self) -> bool {
        let set = |value: &Option<String>| value.as_deref().is_some_and(|value| !value.is_empty());
        if set(&self.no_color) {
            false
        } else if set(&self.clicolor_force) && self.clicolor_force.as_deref() != Some("0") {
            true
        } else {
            let able = self.term.as_deref().is_some_and(|term| !term.is_empty() && term != "dumb");
            self.terminal && able && self.clicolor.as_deref() != Some("0")
        }
    }

    fn unicode(&self) -> bool {
        let charset = self.locale.as_deref().and_then(|locale| locale.split_once('.')).map(|(_, charset)| charset);
        let charset = charset.and_then(|charset| charset.split('@').next()).unwrap_or_default();
        charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
    }
}

impl From<&Surroundings> for Style {
    fn from(surroundings: &Surroundings) -> Self {
        Self {
            width: surroundings.width(),
            color: surroundings.color(),
            unicode: surroundings.unicode(),
            ..Self::default()
        }
    }
}

impl Style {
    /// The style for this process's stdout: see [`Surroundings`].
    #[must_use]
    pub fn detect() -> Self {
        Self::from(&Surroundings::detect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminal() -> Surroundings {
        Surroundings {
            terminal: true,
            terminal_width: Some(97),
            term: Some("xterm-256color".to_owned()),
            locale: Some("en_GB.UTF-8".to_owned()),
            ..Surroundings::default()
        }
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn style(surroundings: Surroundings) -> Style {
        Style::from(&surroundings)
    }

    #[test]
    fn a_terminal_gets_colours_its_own_width_and_its_characters() {
        let expected = Style { width: 97, color: true, bytes: Bytes::Human, unicode: true, all: false };
        assert_eq!(style(terminal()), expected);
    }

    #[test]
    fn a_pipe_gets_no_colours_and_a_fixed_width() {
        let pipe = Surroundings { terminal: false, ..terminal() };
        assert_eq!((style(pipe.clone()).width, style(pipe).color), (120, false));
        assert_eq!(style(Surroundings::default()), Style::default());
    }

    #[test]
    fn columns_goes_first_if_it_is_a_width() {
        let width = |columns, terminal| {
            let surroundings =
                Surroundings { columns: some(columns), terminal, terminal_width: Some(97), ..self::terminal() };
            style(surroundings).width
        };
        assert_eq!((width("60", true), width("60", false)), (60, 60));
        for wrong in ["", "0", "-5", "wide"] {
            assert_eq!((width(wrong, true), width(wrong, false)), (97, 120), "{wrong:?}");
        }
        assert_eq!(width("3", true), NARROWEST);
    }

    #[test]
    fn a_terminal_without_a_width_is_taken_for_80() {
        assert_eq!(style(Surroundings { terminal_width: Some(0), ..terminal() }).width, 80);
        assert_eq!(style(Surroundings { terminal_width: None, ..terminal() }).width, 80);
    }

    #[test]
    fn no_color_beats_everything_if_it_is_not_empty() {
        let force = Surroundings { clicolor_force: some("1"), ..terminal() };
        assert!(!style(Surroundings { no_color: some("0"), ..force.clone() }).color);
        assert!(!style(Surroundings { no_color: some("1"), ..terminal() }).color);
        assert!(style(Surroundings { no_color: some(""), ..force }).color);
    }

    #[test]
    fn clicolor_force_colours_a_pipe_unless_it_is_0_or_empty() {
        let pipe = |force| Surroundings { terminal: false, term: None, clicolor_force: some(force), ..terminal() };
        assert!(style(pipe("1")).color);
        assert!(!style(pipe("0")).color);
        assert!(!style(pipe("")).color);
    }

    #[test]
    fn a_dumb_terminal_gets_no_colours() {
        for term in [some("dumb"), some(""), None] {
            assert!(!style(Surroundings { term, ..terminal() }).color);
        }
        assert!(!style(Surroundings { clicolor: some("0"), ..terminal() }).color);
        assert!(style(Surroundings { clicolor: some("1"), ..terminal() }).color);
    }

    #[test]
    fn characters_outside_of_ascii_need_a_utf_8_locale() {
        let unicode =
            |locale: Option<&str>| style(Surroundings { locale: locale.map(str::to_owned), ..terminal() }).unicode;
        for yes in ["C.UTF-8", "de_AT.utf8", "de_DE.UTF-8@euro"] {
            assert!(unicode(Some(yes)), "{yes}");
        }
        for no in [None, Some("C"), Some("POSIX"), Some("de_AT.ISO-8859-15"), Some("utf8"), Some("")] {
            assert!(!unicode(no), "{no:?}");
        }
    }
}
