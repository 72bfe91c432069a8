//! One document for programs. `docs/json.md` explains it, `docs/report.schema.json` describes it.

use std::io::{Result, Write};

use serde::{Serialize, ser::Error};
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use crate::report::Report;

/// The Report as a JSON document: indented by two spaces, ending with a line end.
///
/// Byte counts are integers, exact up to 2^64 - 1: a reader that takes every number for a double (JavaScript) rounds those
/// above 2^53. Invisible and control characters in names are written as `\u....`, so that the document is safe to print.
///
/// # Errors
/// None is known of: the Report has only types that JSON has.
pub fn render(report: &Report) -> std::result::Result<String, serde_json::Error> {
    let mut document = Vec::new();
    report.serialize(&mut Serializer::with_formatter(&mut document, Printable(PrettyFormatter::new())))?;
    document.push(b'\n');
    String::from_utf8(document).map_err(serde_json::Error::custom)
}

/// Indented, and with nothing in it that a terminal could take for an order. JSON itself allows DEL, the C1 control
/// characters and those that turn the direction of writing to stand as they are.
struct Printable<'a>(PrettyFormatter<'a>);

impl Formatter for Printable<'_> {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        for c in fragment.chars() {
            // What needs a backslash in JSON was taken out of the fragment before.
            if matches!(c, '\'' | '"' | '\\') || c.escape_debug().len() == 1 {
                writer.write_all(c.encode_utf8(&mut [0; 4]).as_bytes())?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> Result<()> {
        self.0.end_object_value(writer)
    }
}
