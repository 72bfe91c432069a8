//! A dashboard: rows of panels, laid out from left to right.

use serde_json::{Value, json};

use super::{panel::Panel, variable::datasource};

const COLUMNS: u32 = 24;

/// A dashboard.
pub(super) struct Board {
    pub(super) uid: &'static str,
    pub(super) title: &'static str,
    pub(super) description: &'static str,
    pub(super) variables: Vec<Value>,
    pub(super) annotations: Vec<Value>,
    /// A title, which is a question, and the panels that answer it.
    pub(super) rows: Vec<(&'static str, Vec<Panel>)>,
}

/// A mark where a query gives something.
pub(super) fn annotation(name: &str, expr: &str, colour: &str, title: &str, text: &str) -> Value {
    json!({
        "name": name, "datasource": datasource(), "enable": true, "hide": false, "iconColor": colour, "expr": expr,
        "titleFormat": title, "textFormat": text, "tagKeys": "", "step": "",
        "target": {"refId": "Anno", "expr": expr, "datasource": datasource()},
    })
}

impl Board {
    /// As Grafana imports it.
    pub(super) fn json(self) -> Value {
        let mut panels = Vec::new();
        let mut y = 0;
        let mut id = 0;
        let mut next = || {
            id += 1;
            id
        };
        for (title, row) in self.rows {
            panels.push(json!({
                "type": "row", "id": next(), "title": title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }));
            y += 1;
            let (mut x, mut tallest) = (0, 0);
            for panel in row {
                if x + panel.width > COLUMNS {
                    (x, y, tallest) = (0, y + tallest, 0);
                }
                let (width, height) = (panel.width, panel.height);
                panels.push(panel.at(next(), x, y));
                x += width;
                tallest = tallest.max(height);
            }
            y += tallest;
        }
        json!({
            "uid": self.uid, "title": self.title, "description": self.description, "tags": ["zctrace", "kafka"],
            "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1, "refresh": "1m", "id": null,
            "timezone": "browser", "time": {"from": "now-3h", "to": "now"}, "timepicker": {}, "fiscalYearStartMonth": 0,
            "annotations": {"list": self.annotations}, "templating": {"list": self.variables}, "panels": panels,
            "links": [{
                "type": "dashboards", "title": "zctrace", "tags": ["zctrace"], "asDropdown": false, "includeVars": true,
                "keepTime": true, "targetBlank": false, "icon": "dashboard", "tooltip": "", "url": "",
            }],
        })
    }
}
