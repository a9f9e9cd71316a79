//! Charts as SVG, drawn by `plotters`. Their colours are variables of the page, so that they follow light
//! and dark.

use std::fmt::Write;

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::picture::escape;

/// One line or set of points.
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// What a chart shows.
#[derive(Default)]
pub(crate) struct Chart<'a> {
    pub(crate) title: &'a str,
    pub(crate) x: &'a str,
    pub(crate) y: &'a str,
    pub(crate) series: Vec<Series>,
    /// Points with the numbers that their names have in the legend, instead of lines.
    pub(crate) scatter: bool,
    /// Places on the x axis and what stands below them; even numbers without them.
    pub(crate) ticks: Vec<(f64, String)>,
}

const SIZE: (u32, u32) = (640, 360);
/// Colours that stand for the page's variables: `plotters` writes them, and they are replaced.
const COLOURS: [RGBColor; 6] = [
    RGBColor(1, 2, 10),
    RGBColor(1, 2, 11),
    RGBColor(1, 2, 12),
    RGBColor(1, 2, 13),
    RGBColor(1, 2, 14),
    RGBColor(1, 2, 15),
];
const INK: RGBColor = RGBColor(1, 2, 20);
const QUIET: RGBColor = RGBColor(1, 2, 21);
const LINE: RGBColor = RGBColor(1, 2, 22);

/// A figure with its legend; nothing where there is nothing to draw.
pub(crate) fn figure(chart: &Chart<'_>) -> String {
    let drawn = chart.series.iter().any(|series| !series.points.is_empty());
    let Some(svg) = drawn.then(|| draw(chart).ok()).flatten() else { return String::new() };
    let mut legend = String::new();
    for (index, series) in chart.series.iter().enumerate().filter(|(_, s)| !s.points.is_empty()) {
        let colour = index % COLOURS.len();
        // Lines differ by dashes too, for those who do not see the colours.
        let (mark, number) = match chart.scatter {
            true => (
                format!("<circle cx=\"26\" cy=\"6\" r=\"5\" fill=\"var(--c{colour})\"/>"),
                format!("{}: ", index + 1),
            ),
            false => (
                format!(
                    "<path d=\"M0 6H32\" stroke=\"var(--c{colour})\" stroke-width=\"3\" \
                     stroke-dasharray=\"{}\"/>",
                    dashes(index, false)
                ),
                String::new(),
            ),
        };
        let _ = write!(
            legend,
            "<li><svg viewBox=\"0 0 32 12\" aria-hidden=\"true\">{mark}</svg>{number}{}</li>",
            escape(&series.name)
        );
    }
    let title = escape(chart.title);
    format!(
        "<figure>{svg}<figcaption>{title}</figcaption><ul class=\"legend\">{legend}</ul></figure>\n"
    )
}

fn dashes(index: usize, scatter: bool) -> &'static str {
    if scatter {
        return "none";
    }
    ["none", "8 4", "2 3", "10 3 2 3", "5 5", "12 3"][index % 6]
}

/// An axis whose marks are chosen. `WithKeyPoints` of `plotters` is the same, and cannot be labelled.
struct Marked {
    columns: RangedCoordf64,
    marks: Vec<f64>,
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.columns.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.marks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.columns.range()
    }
}

fn draw(chart: &Chart<'_>) -> Result<String, Box<dyn std::error::Error>> {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let marks = chart.ticks.iter().map(|(place, _)| *place);
    let (left, right) = range(points().map(|point| point.0).chain(marks.clone()), chart.scatter);
    let columns: RangedCoordf64 = (left..right).into();
    let marks = if chart.ticks.is_empty() { columns.key_points(6) } else { marks.collect() };
    let below = |value: f64| {
        let named = chart.ticks.iter().find(|(place, _)| (place - value).abs() < 1e-9);
        named.map_or_else(|| number(value), |(_, name)| name.clone())
    };
    let (low, high) = range(points().map(|point| point.1), true);
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        let mut context = ChartBuilder::on(&root)
            .margin(8)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(Marked { columns, marks }, low..high)?;
        let label = ("sans-serif", 15).into_font().color(&INK);
        context
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(LINE)
            .light_line_style(TRANSPARENT)
            .axis_style(QUIET)
            .x_desc(chart.x)
            .y_desc(chart.y)
            .y_labels(6)
            .x_label_formatter(&|value| below(*value))
            .y_label_formatter(&|value| number(*value))
            .label_style(label.clone())
            .axis_desc_style(label)
            .draw()?;
        for (index, series) in chart.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            if chart.scatter {
                context.draw_series(
                    series.points.iter().map(|point| Circle::new(*point, 6, colour.filled())),
                )?;
                let middle = (left + right) / 2.0;
                context.draw_series(series.points.iter().map(|point| {
                    let (side, anchor) =
                        if point.0 > middle { (-10, HPos::Right) } else { (10, HPos::Left) };
                    let style = ("sans-serif", 14).into_font().color(&INK);
                    let style = style.pos(Pos::new(anchor, VPos::Center));
                    EmptyElement::at(*point)
                        + Text::new(format!("{}", index + 1), (side, -10), style)
                }))?;
            } else {
                let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(2));
                context.draw_series(line)?;
            }
        }
        root.present()?;
    }
    Ok(themed(svg, chart))
}

/// The page's colours in place of the marks, a name for screen readers, and dashes.
fn themed(mut svg: String, chart: &Chart<'_>) -> String {
    let hex = |colour: RGBColor| format!("#{:02X}{:02X}{:02X}", colour.0, colour.1, colour.2);
    for (index, colour) in COLOURS.into_iter().enumerate() {
        let dashed = format!(
            "stroke=\"var(--c{index})\" stroke-dasharray=\"{}\"",
            dashes(index, chart.scatter)
        );
        svg = svg.replace(&format!("stroke=\"{}\"", hex(colour)), &dashed);
        svg = svg.replace(&hex(colour), &format!("var(--c{index})"));
    }
    for (colour, name) in [(INK, "ink"), (QUIET, "quiet"), (LINE, "line")] {
        svg = svg.replace(&hex(colour), &format!("var(--{name})"));
    }
    let title = escape(chart.title);
    svg.replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{title}\" "), 1)
}

/// A range around values, with some room where points would else lie on the edge.
fn range(values: impl Iterator<Item = f64> + Clone, room: bool) -> (f64, f64) {
    let (low, high) = (values.clone().fold(f64::MAX, f64::min), values.fold(f64::MIN, f64::max));
    let span = if high > low { high - low } else { low.abs().max(1.0) };
    let margin = if room || high <= low { 0.08 * span } else { 0.0 };
    (low - margin, high + margin)
}

/// A number as short as it can be said on an axis.
fn number(value: f64) -> String {
    let digits = if value.abs() >= 100.0 { 0 } else { 3 };
    let text = format!("{value:.digits$}");
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_string(),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_has_the_pages_colours_and_a_name() {
        let series =
            |name: &str| Series { name: name.into(), points: vec![(1.0, 2.5), (2.0, 1.5)] };
        let chart = Chart {
            title: "Loss & more",
            x: "step",
            y: "nats",
            series: vec![series("a<b"), series("c")],
            ..Chart::default()
        };
        let figure = figure(&chart);
        assert!(figure.contains("aria-label=\"Loss &amp; more\""));
        assert!(figure.contains("var(--c0)") && figure.contains("var(--c1)"));
        assert!(figure.contains("a&lt;b") && !figure.contains("#0102"), "{figure}");
        let none = Chart { series: vec![], ..chart };
        assert_eq!(super::figure(&none), "");
    }

    #[test]
    fn numbers_on_axes_are_short() {
        assert_eq!([1500.0, 2.5, 0.125, 3.0].map(number), ["1500", "2.5", "0.125", "3"]);
    }
}
