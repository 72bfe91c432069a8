//! Results as pictures (SVG).

use std::path::Path;

use anyhow::anyhow;
use plotters::{
    chart::{ChartBuilder, SeriesLabelPosition},
    coord::ranged1d::{AsRangedCoord, ValueFormatter},
    prelude::{
        BLACK, Circle, Color, ErrorBar, IntoDrawingArea as _, IntoFont as _, IntoLogRange as _, LineSeries,
        Palette as _, Palette99, PathElement, Ranged, Rectangle, SVGBackend, Text, WHITE,
    },
};

use super::{
    record::{Measure, Record},
    table::{number, unique},
};
use crate::stats::Estimate;

/// Room for the names of groups, as a part of the longest bar.
const NAMES: f64 = 0.22;
/// Height of a bar, in pixels.
const BAR: u32 = 13;

/// Groups of bars, from above: `(group, [(series, value)])`.
pub(crate) type Groups = Vec<(String, Vec<(String, Estimate)>)>;

/// Lines: `(series, [(x, value)])`.
pub(crate) type Lines = Vec<(String, Vec<(f64, Estimate)>)>;

/// Horizontal bars in groups, with their intervals. Series have their colours by `order`.
pub(crate) fn bars(path: &Path, title: &str, unit: &str, groups: &Groups, order: &[String]) -> anyhow::Result<()> {
    let slots = u32::try_from(groups.iter().map(|(_, bars)| bars.len() + 1).sum::<usize>())?;
    let most = groups.iter().flat_map(|(_, bars)| bars).map(|(_, value)| value.high).fold(1.0, f64::max);
    let area = SVGBackend::new(path, (900, 120 + slots * BAR)).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(title, ("sans-serif", 18))
            .margin(10)
            .x_label_area_size(40)
            .build_cartesian_2d(-most * NAMES..most * 1.05, f64::from(slots)..0.0)?;
        chart
            .configure_mesh()
            .disable_y_mesh()
            .disable_y_axis()
            .x_label_formatter(&|x| if *x < 0.0 { String::new() } else { number(*x) })
            .x_desc(unit)
            .label_style(("sans-serif", 13))
            .draw()?;
        chart.draw_series(middles(groups).into_iter().zip(groups).map(|(middle, (name, _))| {
            Text::new(name.clone(), (-most * NAMES, middle), ("sans-serif", 13).into_font())
        }))?;
        for (index, series) in order.iter().enumerate() {
            let colour = Palette99::pick(index).to_rgba();
            let mut bars = Vec::new();
            let mut slot = 0.0;
            for (_, group) in groups {
                for (name, value) in group {
                    if name == series {
                        bars.push((slot, *value));
                    }
                    slot += 1.0;
                }
                slot += 1.0;
            }
            chart
                .draw_series(bars.iter().map(|(slot, value)| {
                    Rectangle::new([(0.0, slot + 0.1), (value.value.max(0.0), slot + 0.9)], colour.filled())
                }))?
                .label(series.clone())
                .legend(move |(x, y)| Rectangle::new([(x, y - 5), (x + 12, y + 5)], colour.filled()));
            chart.draw_series(bars.iter().map(|(slot, value)| {
                PathElement::new([(value.low.max(0.0), slot + 0.5), (value.high.max(0.0), slot + 0.5)], BLACK)
            }))?;
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.85))
            .border_style(BLACK.mix(0.3))
            .label_font(("sans-serif", 13))
            .draw()?;
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| anyhow!("{} can't be drawn: {error}", path.display()))
}

/// The middle of each group, in slots.
/// Bars of the measures of a record that are `shown`: a group for each column. Returns the picture's name, in a list.
pub(crate) fn table(
    record: &Record,
    shown: impl Fn(&Measure) -> bool,
    dir: &Path,
    file: &str,
    title: &str,
) -> anyhow::Result<Vec<String>> {
    let measures: Vec<&Measure> = record.measures.iter().filter(|it| shown(it)).collect();
    let order = unique(measures.iter().map(|it| it.row.clone()));
    let groups = unique(measures.iter().map(|it| &it.column))
        .into_iter()
        .map(|column| {
            let bars = measures.iter().filter(|it| it.column == *column);
            (column.clone(), bars.map(|it| (it.row.clone(), it.value)).collect())
        })
        .collect();
    bars(&dir.join(file), title, "ns", &groups, &order)?;
    Ok(vec![file.to_owned()])
}

fn middles(groups: &Groups) -> Vec<f64> {
    let mut start = 0.0;
    groups
        .iter()
        .map(|(_, bars)| {
            let size = bars.iter().map(|_| 1.0).sum::<f64>();
            let middle: f64 = start + size / 2.0;
            start += size + 1.0;
            middle
        })
        .collect()
}

/// Lines over a logarithmic axis, with their intervals.
pub(crate) fn lines(path: &Path, title: &str, x: &str, y: &str, lines: &Lines) -> anyhow::Result<()> {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let least = points().map(|(x, _)| *x).fold(f64::INFINITY, f64::min);
    let most = points().map(|(x, _)| *x).fold(least * 1.5, f64::max);
    let top = points().map(|(_, value)| value.high).fold(f64::MIN_POSITIVE, f64::max);
    let area = SVGBackend::new(path, (900, 400)).into_drawing_area();
    let draw = || -> Result<(), Box<dyn std::error::Error + '_>> {
        area.fill(&WHITE)?;
        let builder = &mut ChartBuilder::on(&area);
        builder.caption(title, ("sans-serif", 18)).margin(10).x_label_area_size(40).y_label_area_size(70);
        let range = (least * 0.9..most * 1.1).log_scale();
        draw_lines(builder, range, 0.0..top * 1.1, (x, y), lines)?;
        area.present()?;
        Ok(())
    };
    draw().map_err(|error| anyhow!("{} can't be drawn: {error}", path.display()))
}

fn draw_lines<'a, X, Y>(
    builder: &mut ChartBuilder<'_, 'a, SVGBackend<'a>>,
    x_range: X,
    y_range: Y,
    (x, y): (&str, &str),
    lines: &Lines,
) -> Result<(), Box<dyn std::error::Error + 'a>>
where
    X: AsRangedCoord<Value = f64>,
    X::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let mut chart = builder.build_cartesian_2d(x_range, y_range)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x)
        .y_desc(y)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .label_style(("sans-serif", 13))
        .draw()?;
    for (index, (name, points)) in lines.iter().enumerate() {
        let colour = Palette99::pick(index).to_rgba();
        chart
            .draw_series(LineSeries::new(points.iter().map(|(x, value)| (*x, value.value)), colour.stroke_width(2)))?
            .label(name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
        chart.draw_series(
            points
                .iter()
                .map(|(x, value)| ErrorBar::new_vertical(*x, value.low, value.value, value.high, colour.filled(), 6)),
        )?;
        chart.draw_series(points.iter().map(|(x, value)| Circle::new((*x, value.value), 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.85))
        .border_style(BLACK.mix(0.3))
        .label_font(("sans-serif", 13))
        .draw()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::bench::record::exactly;

    #[test]
    fn bars_and_lines_show_their_names_and_are_whole_documents() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.svg");
        let group = |name: &str, value| (name.to_owned(), vec![("ours".to_owned(), exactly(value))]);
        bars(&path, "Added", "ns", &vec![group("a read", 180.0), group("a write", 200.0)], &["ours".to_owned()])
            .unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["Added", "a read", "a write", "ours", "ns"] {
            assert!(svg.lines().any(|line| line.trim() == text), "{text} is not in it");
        }
        assert!(svg.trim_end().ends_with("</svg>"));
        let points = vec![(1.0, exactly(180.0)), (10_000.0, exactly(190.0))];
        lines(&path, "Flat", "partitions", "ns", &vec![("read".to_owned(), points)]).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["Flat", "partitions", "read"] {
            assert!(svg.lines().any(|line| line.trim() == text), "{text} is not in it");
        }
    }
}
