//! Tables: one row for each broker, listener or topic, with columns from several queries.

use serde_json::{Map, Value, json};

use super::{
    panel::{Panel, unit},
    variable,
};

/// A column of whole sentences, which may be cut: a click shows them.
const LONG: &str = "Why this leg";

/// Pixels of columns whose texts are short, or must not be cut; the others share what is left.
fn width(title: &str) -> Option<u32> {
    match title {
        "Port" | "Partition" | "Id" | "PID" | "Leg" | "Seen" => Some(75),
        "Scrape" | "Window" | "Memory" | "Version" | "Kafka" | "Java" => Some(100),
        "Attaching took" => Some(130),
        "Instance" => Some(150),
        "Topic" => Some(180),
        "Cluster" => Some(220),
        _ => None,
    }
}

/// A table that is being put together.
pub(super) struct Table {
    panel: Panel,
    names: Map<String, Value>,
    order: Map<String, Value>,
    columns: u8,
    first: Option<String>,
    hidden: Vec<String>,
}

impl Table {
    /// A table whose rows are told apart by labels, which are its first columns under the given titles.
    pub(super) fn new(title: &str, description: &str, labels: &[(&str, &str)]) -> Self {
        let custom = json!({"align": "auto", "cellOptions": {"type": "auto"}, "inspect": false, "filterable": true, "minWidth": 60});
        let options = json!({"cellHeight": "sm", "showHeader": true, "frameIndex": 0});
        let panel = Panel::new("table", title, description, unit::NONE, custom, options);
        let mut table = Self {
            panel: panel.size(24, 8),
            names: Map::new(),
            order: Map::new(),
            columns: 0,
            first: None,
            hidden: Vec::new(),
        };
        for (label, title) in labels {
            table.name(label, title);
        }
        table
    }

    fn name(&mut self, field: &str, title: &str) {
        let place = self.order.len();
        self.names.insert(field.to_owned(), title.into());
        self.order.insert(field.to_owned(), place.into());
    }

    /// A column of numbers. The first one sorts the table, largest first.
    pub(super) fn column(self, title: &str, unit: &str, expr: &str) -> Self {
        self.column_with(title, unit, expr, &[])
    }

    /// A column with properties of its own.
    pub(super) fn column_with(mut self, title: &str, unit: &str, expr: &str, more: &[(&str, Value)]) -> Self {
        let letter = char::from(b'A' + self.columns);
        self.columns += 1;
        self.name(&format!("Value #{letter}"), title);
        let mut properties = vec![json!({"id": "unit", "value": unit})];
        properties.extend(more.iter().map(|(id, value)| json!({"id": id, "value": value})));
        self.panel = self.panel.rows(expr).field(title, properties.into());
        self.first.get_or_insert_with(|| title.to_owned());
        self
    }

    /// Labels of an info metric as columns; its value is always 1 and says nothing. `expr` keeps only these labels and
    /// those of the rows.
    pub(super) fn info(mut self, expr: &str, labels: &[(&str, &str)]) -> Self {
        let letter = char::from(b'A' + self.columns);
        self.columns += 1;
        self.hidden.push(format!("Value #{letter}"));
        for (label, title) in labels {
            self.name(label, title);
        }
        self.panel = self.panel.rows(expr);
        self
    }

    /// Where a click on a column leads: `labels` are variables and the columns that they are set to.
    pub(super) fn link(mut self, column: &str, title: &str, uid: &str, labels: &[(&str, &str)]) -> Self {
        let link = variable::from_row(title, uid, labels);
        self.panel = self.panel.field(column, json!([{"id": "links", "value": [link]}]));
        self
    }

    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        self.panel = self.panel.size(width, height);
        self
    }

    /// The panel: rows of all queries merged, other fields left out. `nothing` is what it says without rows.
    pub(super) fn or(mut self, nothing: &str) -> Panel {
        let mut left_out = Map::new();
        left_out.insert("Time".to_owned(), true.into());
        // An empty cell is not an empty table.
        for title in self.names.values().filter_map(Value::as_str) {
            self.panel = self.panel.field(title, json!([{"id": "noValue", "value": "–"}]));
            if title == LONG {
                self.panel = self.panel.field(title, json!([{"id": "custom.inspect", "value": true}]));
            }
            if let Some(width) = width(title) {
                self.panel = self.panel.field(title, json!([{"id": "custom.width", "value": width}]));
            }
        }
        for field in self.hidden {
            left_out.insert(field, true.into());
        }
        let organize = json!({"excludeByName": left_out, "indexByName": self.order, "renameByName": self.names});
        let sort = json!({"fields": {}, "sort": self.first.map(|field| json!({"field": field, "desc": true}))
            .into_iter().collect::<Vec<_>>()});
        self.panel
            .nothing(nothing)
            .transform("merge", json!({}))
            .transform("organize", organize)
            .transform("sortBy", sort)
    }
}
