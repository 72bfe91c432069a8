//! Traffic by remote address.

use super::{listener_name, title};
use crate::{
    output::{
        Style,
        grid::{Cell, Column, Grid, explanation},
        text::{Ink, clean},
    },
    report::{Listener, OTHER, Report},
};

/// Clients of a listener shown unless all are.
const CLIENTS: usize = 10;

pub(super) fn section(report: &Report, style: &Style) -> String {
    let with_clients = |listener: &&Listener| listener.clients.as_ref().is_some_and(|clients| !clients.is_empty());
    if report.listeners.iter().all(|listener| listener.clients.is_none()) {
        return String::new();
    }
    let mut grid = Grid::new(vec![
        Column::words("listener").breaks(),
        Column::words("client").breaks(),
        Column::numbers("egress"),
        Column::numbers("zero copy"),
        Column::numbers("copied"),
        Column::numbers("ingress"),
    ]);
    let mut hidden = 0;
    for listener in report.listeners.iter().filter(with_clients) {
        let clients = listener.clients.as_deref().unwrap_or_default();
        let shown = if style.all { clients.len() } else { CLIENTS };
        for (number, client) in clients.iter().enumerate() {
            if number >= shown && client.address != OTHER {
                hidden += 1;
                continue;
            }
            let colored = |bytes: u64, ink| Cell::inked(style.bytes(bytes), if bytes == 0 { Ink::Plain } else { ink });
            grid.row(vec![
                listener_name(listener, style).into(),
                clean(&client.address, style.unicode).into(),
                style.bytes(client.egress_bytes()).into(),
                colored(client.zero_copy_bytes, Ink::ZeroCopy),
                colored(client.copied_bytes, Ink::Copied),
                style.bytes(client.ingress_bytes).into(),
            ]);
        }
    }
    let mut text =
        "A listener's clients by their remote address: behind a proxy or a translated network they are one. (other): \
                    those that came when the table was full."
            .to_owned();
    if hidden > 0 {
        text += &format!(" {hidden} more: --all shows every one.");
    }
    title("By client", "traffic of a listener's sockets, largest first", style)
        + &Grid::render(&grid, &grid, style)
        + &explanation(&text, style)
}
