//! Panels. Every one has a title, a description that says what it shows, what is normal and what to do, and a unit.

use serde_json::{Value, json};

use super::{
    colour,
    variable::{self, datasource},
};

/// Grafana's names of units.
pub(super) mod unit {
    pub(in super::super) const BYTES: &str = "bytes";
    pub(in super::super) const BYTES_A_SECOND: &str = "binBps";
    pub(in super::super) const SHARE: &str = "percentunit";
    pub(in super::super) const CALLS_A_SECOND: &str = "cps";
    pub(in super::super) const COUNT: &str = "short";
    pub(in super::super) const SECONDS: &str = "s";
    pub(in super::super) const TIMES: &str = "suffix: ×";
    pub(in super::super) const NONE: &str = "none";
}

/// A panel that is being put together.
pub(super) struct Panel {
    json: Value,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Panel {
    /// A panel of a kind, without queries.
    pub(super) fn new(kind: &str, title: &str, description: &str, unit: &str, custom: Value, options: Value) -> Self {
        let json = json!({
            "type": kind, "title": title, "description": description, "datasource": datasource(),
            "pluginVersion": "11.0.0", "targets": [], "options": options,
            "fieldConfig": {
                "defaults": {
                    "unit": unit, "custom": custom, "color": {"mode": "palette-classic"},
                    "noValue": "No data", "thresholds": colour::thresholds(colour::UNKNOWN, &[]), "mappings": [],
                },
                "overrides": [],
            },
        });
        Self { json, width: 12, height: 8 }
    }

    /// Lines over time.
    pub(super) fn lines(title: &str, description: &str, unit: &str) -> Self {
        let custom = json!({
            "drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 2, "fillOpacity": 8, "gradientMode": "none",
            "showPoints": "auto", "pointSize": 4, "spanNulls": false, "insertNulls": false, "axisPlacement": "auto",
            "axisLabel": "", "axisSoftMin": 0, "stacking": {"mode": "none", "group": "A"},
            "thresholdsStyle": {"mode": "off"}, "scaleDistribution": {"type": "linear"},
            "hideFrom": {"legend": false, "tooltip": false, "viz": false},
        });
        let options = json!({
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        });
        let mut panel = Self::new("timeseries", title, description, unit, custom, options);
        for (name, colour) in colour::BY_NAME {
            panel = panel.colour(name, colour);
        }
        panel
    }

    /// One number, as of now: a gap shows as such, not as the last value before it.
    pub(super) fn stat(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto",
            "textMode": "auto", "wideLayout": true, "showPercentChange": false,
            "percentChangeColorMode": "standard", "reduceOptions": reduce(),
        });
        Self::new("stat", title, description, unit, json!({}), options).size(4, 4)
    }

    /// Bars side by side, as of now.
    pub(super) fn bars(title: &str, description: &str, unit: &str) -> Self {
        let options = json!({
            "displayMode": "basic", "orientation": "horizontal", "valueMode": "color", "showUnfilled": true,
            "namePlacement": "auto", "sizing": "auto", "minVizHeight": 16, "minVizWidth": 8, "maxVizHeight": 300,
            "reduceOptions": reduce(),
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": false, "calcs": []},
        });
        Self::new("bargauge", title, description, unit, json!({}), options).minimum(0.0)
    }

    /// How often values of which size occur, over time.
    pub(super) fn heatmap(title: &str, description: &str, unit: &str, scheme: &str) -> Self {
        let custom = json!({
            "scaleDistribution": {"type": "linear"}, "hideFrom": {"legend": false, "tooltip": false, "viz": false},
        });
        let options = json!({
            "calculate": false, "cellGap": 1, "filterValues": {"le": 1e-9}, "legend": {"show": true},
            "color": {"mode": "scheme", "scheme": scheme, "steps": 64, "fill": "dark-orange", "scale": "exponential",
                      "exponent": 0.5, "reverse": false},
            "exemplars": {"color": "rgba(255,0,255,0.7)"}, "rowsFrame": {"layout": "auto"}, "showValue": "never",
            "tooltip": {"mode": "single", "yHistogram": false, "showColorScale": false},
            "yAxis": {"axisPlacement": "left", "reverse": false, "unit": unit},
        });
        Self::new("heatmap", title, description, unit, custom, options)
    }

    /// A query whose series are lines, named by `legend`.
    pub(super) fn query(self, expr: &str, legend: &str) -> Self {
        let instant = self.json["type"] == "stat" || self.json["type"] == "bargauge";
        self.target(expr, legend, instant, "time_series")
    }

    /// A query of a heatmap: buckets by `le`.
    pub(super) fn buckets(self, expr: &str) -> Self {
        self.target(expr, "{{le}}", false, "heatmap")
    }

    /// A query of a table: a row for each series, as of now.
    pub(super) fn rows(self, expr: &str) -> Self {
        self.target(expr, "", true, "table")
    }

    fn target(mut self, expr: &str, legend: &str, instant: bool, format: &str) -> Self {
        if let Some(targets) = self.json["targets"].as_array_mut() {
            let letter = char::from(b'A' + u8::try_from(targets.len()).unwrap_or(25));
            targets.push(json!({
                "refId": letter.to_string(), "datasource": datasource(), "expr": expr, "legendFormat": legend,
                "instant": instant, "range": !instant, "format": format, "editorMode": "code",
            }));
        }
        self
    }

    /// Columns of 24, rows of about 38 pixels.
    pub(super) fn size(mut self, width: u32, height: u32) -> Self {
        (self.width, self.height) = (width, height);
        self
    }

    /// What it says when there is nothing to show.
    pub(super) fn nothing(mut self, text: &str) -> Self {
        self.defaults()["noValue"] = text.into();
        self
    }

    pub(super) fn minimum(mut self, value: f64) -> Self {
        self.defaults()["min"] = value.into();
        self
    }

    pub(super) fn maximum(mut self, value: f64) -> Self {
        self.defaults()["max"] = value.into();
        self
    }

    pub(super) fn decimals(mut self, digits: u8) -> Self {
        self.defaults()["decimals"] = digits.into();
        self
    }

    /// The areas lie on top of each other: together they are the whole.
    pub(super) fn stacked(mut self) -> Self {
        let custom = &mut self.defaults()["custom"];
        custom["stacking"]["mode"] = "normal".into();
        custom["fillOpacity"] = 60.into();
        custom["lineWidth"] = 1.into();
        self
    }

    /// All in one colour.
    pub(super) fn fixed(mut self, colour: &str) -> Self {
        self.defaults()["color"] = colour::fixed(colour);
        self.defaults()["thresholds"] = colour::thresholds(colour, &[]);
        self
    }

    /// Coloured by value.
    pub(super) fn thresholds(mut self, first: &str, steps: &[(f64, &str)]) -> Self {
        self.defaults()["color"] = json!({"mode": "thresholds"});
        self.defaults()["thresholds"] = colour::thresholds(first, steps);
        self
    }

    /// A series' colour, by its name.
    pub(super) fn colour(self, name: &str, colour: &str) -> Self {
        self.field(name, json!([{"id": "color", "value": colour::fixed(colour)}]))
    }

    /// A dashed line for what is there to compare with.
    pub(super) fn dashed(self, name: &str) -> Self {
        let dash = json!({"fill": "dash", "dash": [8, 6]});
        self.field(name, json!([{"id": "custom.lineStyle", "value": dash}, {"id": "custom.fillOpacity", "value": 0}]))
    }

    /// Properties of a field, by its name.
    pub(super) fn field(mut self, name: &str, properties: Value) -> Self {
        if let Some(overrides) = self.json["fieldConfig"]["overrides"].as_array_mut() {
            overrides.push(json!({"matcher": {"id": "byName", "options": name}, "properties": properties}));
        }
        self
    }

    /// Words for values.
    pub(super) fn mapped(mut self, words: &[(&str, &str)]) -> Self {
        let options: serde_json::Map<String, Value> = words
            .iter()
            .zip(0..)
            .map(|((value, word), index)| ((*value).to_owned(), json!({"text": word, "index": index})))
            .collect();
        self.defaults()["mappings"] = json!([{"type": "value", "options": options}]);
        self
    }

    /// Where a click leads.
    pub(super) fn link(mut self, title: &str, uid: &str, labels: &[&str]) -> Self {
        self.defaults()["links"] = json!([variable::from_series(title, uid, labels)]);
        self
    }

    /// What is done with the rows of a table.
    pub(super) fn transform(mut self, id: &str, options: Value) -> Self {
        if !self.json["transformations"].is_array() {
            self.json["transformations"] = json!([]);
        }
        if let Some(transformations) = self.json["transformations"].as_array_mut() {
            transformations.push(json!({"id": id, "options": options}));
        }
        self
    }

    /// The panel's JSON at a place in the grid.
    pub(super) fn at(mut self, id: u32, x: u32, y: u32) -> Value {
        self.json["id"] = id.into();
        self.json["gridPos"] = json!({"x": x, "y": y, "w": self.width, "h": self.height});
        self.json
    }

    fn defaults(&mut self) -> &mut Value {
        &mut self.json["fieldConfig"]["defaults"]
    }
}

fn reduce() -> Value {
    json!({"calcs": ["lastNotNull"], "fields": "", "values": false})
}
