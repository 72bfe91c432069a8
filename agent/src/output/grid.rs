//! A table that fits its terminal: it leaves out what matters least, breaks long names, or becomes lists of `key: value`.
//! Numbers are never cut or broken.

use comfy_table::{Cell as ComfyCell, CellAlignment, LineStyle, Table, TableStyle};

use super::{
    Style,
    text::{Ink, break_name, pack, paragraph, width},
};

/// Between two columns.
const GAP: usize = 2;
/// A name is not broken into lines shorter than this.
const SHORTEST_NAME: usize = 16;

/// A column of a [`Grid`].
#[derive(Clone, Debug)]
pub(super) struct Column {
    title: String,
    right: bool,
    breaks: bool,
    ornament: bool,
    /// 0: stays; otherwise the highest leaves first.
    leaves: u8,
}

impl Column {
    /// A column of words. A line end in a title is a place to break it.
    pub(super) fn words(title: &str) -> Self {
        Self { title: title.to_owned(), right: false, breaks: false, ornament: false, leaves: 0 }
    }

    /// A column of numbers.
    pub(super) fn numbers(title: &str) -> Self {
        Self { right: true, ..Self::words(title) }
    }

    /// Its words may be broken into lines.
    pub(super) fn breaks(self) -> Self {
        Self { breaks: true, ..self }
    }

    /// It is left out where there is no room, those with higher numbers first.
    pub(super) fn leaves(self, rank: u8) -> Self {
        Self { leaves: rank, ..self }
    }

    /// It only repeats what the others say: where there is no room it goes without a word.
    pub(super) fn ornament(self) -> Self {
        Self { ornament: true, ..self }
    }

    fn key(&self) -> String {
        self.title.replace('\n', " ")
    }
}

/// What stands in a row under a column.
#[derive(Clone, Debug)]
pub(super) struct Cell {
    text: String,
    ink: Ink,
}

impl Cell {
    /// In an ink of its own.
    pub(super) fn inked(text: impl Into<String>, ink: Ink) -> Self {
        Self { text: text.into(), ink }
    }

    fn lines(&self, ink: Ink) -> String {
        let ink = if self.ink == Ink::Plain { ink } else { self.ink };
        self.text.lines().map(|line| ink.on(line)).collect::<Vec<_>>().join("\n")
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::inked(text, Ink::Plain)
    }
}

/// A table, not yet of any width.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    columns: Vec<Column>,
    rows: Vec<(Vec<Cell>, Ink)>,
}

impl Grid {
    /// An empty table.
    pub(super) fn new(columns: Vec<Column>) -> Self {
        Self { columns, rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(super) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push((cells, Ink::Plain));
    }

    /// Adds a row of sums.
    pub(super) fn sums(&mut self, cells: Vec<Cell>) {
        self.rows.push((cells, Ink::Strong));
    }

    fn column_width(&self, column: usize) -> usize {
        let cells = self.rows.iter().filter_map(|(cells, _)| cells.get(column)).map(|cell| width(&cell.text));
        cells.chain([width(&self.columns[column].title)]).max().unwrap_or(0)
    }

    fn width(&self) -> usize {
        let columns: usize = (0..self.columns.len()).map(|column| self.column_width(column)).sum();
        columns + GAP * self.columns.len().saturating_sub(1)
    }

    fn without(mut self, column: usize) -> Self {
        self.columns.remove(column);
        for (cells, _) in &mut self.rows {
            cells.remove(column);
        }
        self
    }

    /// The column that leaves next.
    fn least(&self) -> Option<usize> {
        let leaving = self.columns.iter().enumerate().filter(|(_, column)| column.leaves > 0);
        leaving.max_by_key(|(_, column)| column.leaves).map(|(i, _)| i)
    }

    /// The same with names broken so that it is `limit` wide, if that is enough.
    fn narrowed(mut self, limit: usize) -> Option<Self> {
        let column = self.columns.iter().position(|column| column.breaks)?;
        let others = self.width() - self.column_width(column);
        let room = limit.checked_sub(others).filter(|room| *room >= SHORTEST_NAME)?;
        for (cells, _) in &mut self.rows {
            cells[column].text = break_name(&cells[column].text, room);
        }
        (self.width() <= limit).then_some(self)
    }

    /// As wide as the style allows. `short` shows the same with fewer words. What is tried, in this order: a table of all,
    /// of all but ornaments, of short words, without what matters least, with broken names; rows of numbers below lines of
    /// names; lists.
    pub(super) fn render(full: &Self, short: &Self, style: &Style) -> String {
        let fits = |grid: &Self| grid.width() <= style.width;
        if fits(full) {
            return full.table(style);
        }
        let (full, short) = (full.clone().plain(), short.clone().plain());
        if fits(&full) {
            return full.table(style);
        }
        let (slim, left_out) = short.slimmed(style.width);
        if let Some(slim) = if fits(&slim) { Some(slim) } else { slim.narrowed(style.width) } {
            return slim.table(style) + &left_out_note(&left_out, style);
        }
        full.below_names(style).unwrap_or_else(|| full.lists(style))
    }

    fn plain(mut self) -> Self {
        while let Some(ornament) = self.columns.iter().position(|column| column.ornament) {
            self = self.without(ornament);
        }
        self
    }

    /// Without the columns that matter least, as many as it takes to be `limit` wide, and the names of those.
    fn slimmed(mut self, limit: usize) -> (Self, Vec<String>) {
        let mut left_out = Vec::new();
        while self.width() > limit {
            let Some(least) = self.least() else { break };
            left_out.insert(0, self.columns[least].key());
            self = self.without(least);
        }
        (self, left_out)
    }

    /// A table of the numbers, with the words of each row in a line above its numbers; only for tables whose words all
    /// come first, and if that is narrow enough.
    fn below_names(&self, style: &Style) -> Option<String> {
        let words = self.columns.iter().take_while(|column| !column.right).count();
        if self.columns[words..].iter().any(|column| !column.right) {
            return None;
        }
        let mut numbers = self.clone();
        for _ in 0..words {
            numbers = numbers.without(0);
        }
        let (numbers, left_out) = numbers.slimmed(style.width);
        if numbers.width() > style.width {
            return None;
        }
        let table = numbers.table(style);
        let mut lines = table.lines();
        let head = table.lines().count() - self.rows.len();
        let mut text = lines.by_ref().take(head).fold(String::new(), |text, line| text + line + "\n");
        for ((cells, ink), line) in self.rows.iter().zip(lines) {
            let names: Vec<_> = cells[..words].iter().map(|cell| cell.text.as_str()).collect();
            let names = Cell::from(pack(&names, style.width));
            text.push_str(&format!("{}\n{line}\n", names.lines(if *ink == Ink::Plain { Ink::Strong } else { *ink })));
        }
        Some(text + &left_out_note(&left_out, style))
    }

    fn table(&self, style: &Style) -> String {
        let rule = LineStyle::none().fill(if style.unicode { '─' } else { '-' });
        let mut table = Table::new();
        table.load_style(TableStyle::new().header_separator(rule));
        // Titles of one line stand beside the last line of the others.
        let lines = |title: &str| title.lines().count();
        let height = self.columns.iter().map(|column| lines(&column.title)).max().unwrap_or(1);
        let title = |title: &str| "\n".repeat(height - lines(title)) + title;
        table.set_header(self.columns.iter().map(|column| ComfyCell::new(title(&column.title))));
        for (cells, ink) in &self.rows {
            table.add_row(cells.iter().map(|cell| ComfyCell::new(cell.lines(*ink))));
        }
        for (i, column) in self.columns.iter().enumerate() {
            if let Some(comfy) = table.column_mut(i) {
                comfy.set_padding((0, if i + 1 < self.columns.len() { 2 } else { 0 }));
                comfy.set_cell_alignment(if column.right { CellAlignment::Right } else { CellAlignment::Left });
            }
        }
        table.lines().fold(String::new(), |text, line| text + line.trim_end() + "\n")
    }

    /// Each row as a list: its first cell, and the others after their titles.
    fn lists(&self, style: &Style) -> String {
        let keys: Vec<String> = self.columns.iter().map(Column::key).collect();
        let key_width = keys.iter().skip(1).map(|key| width(key)).max().unwrap_or(0);
        let value_width = (1..self.columns.len())
            .filter(|column| self.columns[*column].right)
            .map(|column| self.rows.iter().map(|(cells, _)| width(&cells[column].text)).max().unwrap_or(0))
            .max()
            .unwrap_or(0);
        let mut text = String::new();
        for (cells, ink) in &self.rows {
            let Some((first, rest)) = cells.split_first() else { continue };
            let name = Cell { text: break_name(&first.text, style.width), ink: first.ink };
            text.push_str(&format!("{}\n", name.lines(if *ink == Ink::Plain { Ink::Strong } else { *ink })));
            for (i, cell) in rest.iter().enumerate() {
                let column = &self.columns[i + 1];
                if cell.text.is_empty() {
                    continue;
                }
                let value = cell.lines(Ink::Plain);
                let pad = if column.right { value_width.saturating_sub(width(&value)) } else { 0 };
                let key = &keys[i + 1];
                let one_line = format!("  {key}{:gap$}{value}", "", gap = key_width - width(key) + GAP + pad);
                if width(&one_line) <= style.width {
                    text.push_str(one_line.trim_end());
                    text.push('\n');
                } else {
                    text.push_str(&format!("  {key}\n{}", paragraph(&value, style.width, "    ", "    ")));
                }
            }
        }
        text
    }
}

fn left_out_note(left_out: &[String], style: &Style) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let note =
        format!("Left out for lack of room: {}. A wider terminal or --output json shows them.", left_out.join(", "));
    explanation(&note, style)
}

/// A paragraph that explains what stands above it.
pub(super) fn explanation(text: &str, style: &Style) -> String {
    paragraph(text, style.width, "", "").lines().fold(String::new(), |text, line| text + &Ink::Faint.on(line) + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let mut grid = Grid::new(vec![
            Column::words("topic").breaks(),
            Column::words("protocol").leaves(1),
            Column::numbers("zero\ncopy"),
            Column::numbers("mean").leaves(2),
        ]);
        grid.row(vec!["com.example.orders-12".into(), "SSL".into(), "1,234,567".into(), "1".into()]);
        grid.sums(vec!["total".into(), "".into(), Cell::inked("22", Ink::ZeroCopy), "-".into()]);
        grid
    }

    fn render(width: usize) -> String {
        let style = Style { width, ..Style::default() };
        super::super::text::resolve(&Grid::render(&grid(), &grid(), &style), false)
    }

    fn render_list(width: usize) -> String {
        let mut grid = grid();
        grid.columns.push(Column::words("last"));
        for (cells, _) in &mut grid.rows {
            cells.push("a word or two".into());
        }
        super::super::text::resolve(&Grid::render(&grid, &grid, &Style { width, ..Style::default() }), false)
    }

    #[test]
    fn everything_where_there_is_room() {
        let expected = "\
                                     zero
topic                  protocol       copy  mean
------------------------------------------------
com.example.orders-12  SSL       1,234,567     1
total                                   22     -
";
        assert_eq!(render(48).lines().skip(1).collect::<Vec<_>>(), expected.lines().skip(1).collect::<Vec<_>>());
    }

    #[test]
    fn columns_leave_then_names_break_then_it_is_a_list() {
        assert!(render(47).contains("Left out for lack of room: mean."));
        let narrow = render(32);
        assert!(narrow.contains("Left out for lack of room:\nprotocol, mean."), "{narrow}");
        assert!(narrow.contains("1,234,567"), "{narrow}");
        let below = render(24);
        assert!(
            below.contains("com.example.orders-12\n1,234,567\n") || below.contains("com.example.orders-12  "),
            "{below}"
        );
        let list = render_list(24);
        assert!(list.contains("  zero copy  1,234,567\n"), "{list}");
        assert!(list.contains("  protocol   SSL\n"), "{list}");
    }

    #[test]
    fn no_line_is_wider_than_asked() {
        for limit in 24..60 {
            let text = render(limit);
            assert!(text.lines().all(|line| width(line) <= limit), "{limit}\n{text}");
            assert!(text.contains("1,234,567"), "{limit}\n{text}");
        }
    }
}
