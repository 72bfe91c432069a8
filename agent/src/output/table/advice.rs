//! What could be better, with what shows it.

use super::{super::Style, clean_sentence, paragraph, title};
use crate::report::Report;

pub(super) fn section(report: &Report, style: &Style) -> String {
    if report.advice.is_empty() {
        return String::new();
    }
    let bullet = if style.unicode { "• " } else { "* " };
    let sentence =
        |text: &str, first: &str, rest: &str| paragraph(&clean_sentence(text, style.unicode), style.width, first, rest);
    let mut text = title("Advice", "", style);
    for advice in &report.advice {
        text += &sentence(&advice.text, bullet, "  ");
        for evidence in &advice.evidence {
            text += &sentence(evidence, "  - ", "    ");
        }
        text += &sentence(&advice.remedy, "  ", "  ");
    }
    text
}
