//! The table by listener.

use super::{absent, listener_name, sum, title};
use crate::{
    output::{
        Style,
        format::percent,
        grid::{Cell, Column, Grid, explanation},
        text::{Ink, clean, tied},
    },
    report::{Egress, Report},
};

/// Characters of the bar that shows the shares of egress.
const BAR: u64 = 20;

pub(super) fn section(report: &Report, style: &Style) -> String {
    if report.listeners.is_empty() {
        return title("By listener", "", style) + "No socket was used, and no listener is known.\n";
    }
    let with_undetermined = report.total.undetermined_bytes > 0;
    let [full, short] = [false, true].map(|short| grid(report, short, with_undetermined, style));
    let table = Grid::render(&full, &short, style);
    title("By listener", "bytes through its sockets", style) + &table + &explanations(report, style)
}

fn grid(report: &Report, short: bool, with_undetermined: bool, style: &Style) -> Grid {
    let amplification = if short { "copy\namplif." } else { "copy\namplification" };
    let mut columns = vec![
        Column::words("listener").breaks(),
        Column::words("protocol").leaves(1),
        Column::numbers("egress"),
        Column::numbers("zero copy"),
        Column::numbers("copied"),
    ];
    if with_undetermined {
        columns.push(Column::numbers("not known"));
    }
    columns.extend([Column::numbers("zero-copy\nratio"), Column::numbers(amplification), Column::numbers("ingress")]);
    columns.push(Column::words(&bar_title(style)).ornament());
    let mut grid = Grid::new(columns);
    for listener in &report.listeners {
        let protocol = listener.protocol.as_ref().map_or_else(String::new, |name| clean(name, style.unicode));
        let names = [listener_name(listener, style), protocol];
        grid.row(row(names, &listener.egress, listener.ingress_bytes.into(), with_undetermined, style));
    }
    let ingress = sum(report.listeners.iter().map(|listener| listener.ingress_bytes));
    grid.sums(row(["total".to_owned(), String::new()], &report.total, ingress, with_undetermined, style));
    grid
}

fn row(names: [String; 2], egress: &Egress, ingress: u128, with_undetermined: bool, style: &Style) -> Vec<Cell> {
    let ratio = egress.zero_copy_ratio.and_then(|_| percent(egress.zero_copy_bytes, egress.egress_bytes, 2));
    let moved = u128::from(egress.copied_bytes) + u128::from(egress.carried_file_bytes);
    let amplification = egress.copy_amplification.and_then(|_| style.amplification(moved, egress.egress_bytes.into()));
    let [name, protocol] = names;
    let mut cells: Vec<Cell> = vec![
        name.into(),
        protocol.into(),
        style.bytes(egress.egress_bytes).into(),
        colored(egress.zero_copy_bytes, Ink::ZeroCopy, style),
        colored(egress.copied_bytes, Ink::Copied, style),
    ];
    if with_undetermined {
        cells.push(style.bytes(egress.undetermined_bytes).into());
    }
    cells.push(ratio.unwrap_or_else(absent).into());
    cells.push(amplification.unwrap_or_else(absent).into());
    cells.push(style.bytes(ingress).into());
    cells.push(bar(egress, style).into());
    cells
}

/// A count in the colour of its path; nothing is nothing in every colour.
fn colored(bytes: u64, ink: Ink, style: &Style) -> Cell {
    Cell::inked(style.bytes(bytes), if bytes == 0 { Ink::Plain } else { ink })
}

const fn bar_signs(style: &Style) -> [&'static str; 3] {
    if style.unicode { ["█", "░", "?"] } else { ["#", ".", "?"] }
}

fn bar_title(style: &Style) -> String {
    let [zero_copy, copied, _] = bar_signs(style);
    format!("{} zero copy {} copied", Ink::ZeroCopy.on(zero_copy), Ink::Copied.on(copied))
}

/// Shares of the egress. No share that is there is without a sign.
fn bar(egress: &Egress, style: &Style) -> String {
    let parts = [egress.zero_copy_bytes, egress.copied_bytes, egress.undetermined_bytes];
    let signs = bar_signs(style);
    let widths = bar_widths(parts);
    [Ink::ZeroCopy, Ink::Copied, Ink::Plain]
        .into_iter()
        .zip(signs)
        .zip(widths)
        .fold(String::new(), |bar, ((ink, sign), width)| bar + &ink.on(&sign.repeat(width)))
}

/// [`BAR`] signs shared out in proportion, at least one to each part that is not nothing.
fn bar_widths(parts: [u64; 3]) -> [usize; 3] {
    let whole = parts.iter().map(|part| u128::from(*part)).sum::<u128>();
    if whole == 0 {
        return [0; 3];
    }
    let mut widths = parts.map(|part| {
        let share = (u128::from(part) * u128::from(BAR) * 2 + whole) / (2 * whole);
        usize::try_from(share.max(u128::from(part > 0))).unwrap_or(0)
    });
    // What the rounding and the smallest parts took too much or left over is the widest part's.
    let widest = (0..widths.len()).max_by_key(|i| widths[*i]).unwrap_or(0);
    let others: usize = (0..widths.len()).filter(|i| *i != widest).map(|i| widths[i]).sum();
    widths[widest] = usize::try_from(BAR).unwrap_or(0).saturating_sub(others);
    widths
}

fn explanations(report: &Report, style: &Style) -> String {
    let mut sentences = vec![format!(
        "Copy amplification: bytes moved between kernel and user memory for each byte sent; 0 with sendfile, about 2 \
             with {}.",
        tied("read + write")
    )];
    if report.listeners.iter().any(|listener| listener.egress.zero_copy_ratio.is_none()) {
        sentences.push("A ratio is \"-\" where nothing was sent.".to_owned());
    }
    if report.total.undetermined_bytes > 0 {
        sentences.push(
            "Not known: sent with MSG_ZEROCOPY; nobody can tell whether it was copied, so there is no copy amplification \
             (\"-\")."
                .to_owned(),
        );
    }
    explanation(&sentences.join(" "), style)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bar_is_full_only_if_it_is() {
        assert_eq!(bar_widths([0, 0, 0]), [0, 0, 0]);
        assert_eq!(bar_widths([5, 0, 0]), [20, 0, 0]);
        assert_eq!(bar_widths([1 << 60, 1, 0]), [19, 1, 0]);
        assert_eq!(bar_widths([1, 1 << 60, 1]), [1, 18, 1]);
        assert_eq!(bar_widths([1, 1, 0]), [10, 10, 0]);
        assert_eq!(bar_widths([1, 1, 1]), [7, 7, 6]);
    }

    proptest! {
        #[test]
        fn every_part_has_a_sign_and_all_are_one_bar(parts in any::<[u64; 3]>()) {
            let widths = bar_widths(parts);
            prop_assert_eq!(widths.iter().sum::<usize>(), if parts == [0; 3] { 0 } else { 20 });
            for (part, width) in parts.into_iter().zip(widths) {
                prop_assert_eq!(part > 0, width > 0);
            }
        }
    }
}
