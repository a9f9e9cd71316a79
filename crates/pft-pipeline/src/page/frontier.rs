//! Privacy against utility against memorisation: a point for each model of a report.

use super::charts::{Chart, Series, figure};
use super::data::{ModelReport, Report};

/// The charts, or nothing where there are less than two points in each.
pub(crate) fn charts(report: &Report) -> String {
    let axis = Axis::of(report.models.iter().filter_map(|one| one.model.figures.epsilon()));
    let utility = |one: &ModelReport| one.model.figures.held_out.all;
    let memory = |one: &ModelReport| one.model.figures.memorisation_gap;
    let place = |one: &ModelReport| Some(axis.place(one));
    let by_epsilon = "ε: less is more private";
    let charts = [
        scatter(report, "Utility: held-out perplexity by ε, lower is better", by_epsilon, |one| {
            (place(one), utility(one))
        })
        .map(|chart| Chart { y: "perplexity", ticks: axis.ticks(report), ..chart }),
        scatter(report, "Memorisation: the gap by ε, lower is better", by_epsilon, |one| {
            (place(one), memory(one))
        })
        .map(|chart| Chart { y: "nats a token", ticks: axis.ticks(report), ..chart }),
        scatter(
            report,
            "Utility and memorisation: both are better towards the lower left",
            "held-out perplexity",
            |one| (utility(one), memory(one)),
        )
        .map(|chart| Chart { y: "gap, nats a token", ..chart }),
    ];
    let charts: String = charts.iter().flatten().map(figure).collect();
    if charts.is_empty() { charts } else { format!("<div class=\"charts\">{charts}</div>") }
}

/// A chart of points with their models' names. One point is no frontier.
fn scatter<'a>(
    report: &Report,
    title: &'a str,
    x: &'a str,
    point: impl Fn(&ModelReport) -> (Option<f64>, Option<f64>),
) -> Option<Chart<'a>> {
    let series = report.models.iter().filter_map(|one| {
        let (x, y) = point(one);
        let point = x.zip(y).filter(|(x, y)| x.is_finite() && y.is_finite())?;
        let (stage, figures) = (&one.model.stage, &one.model.figures);
        let name = format!("{stage}, {}", figures.defence());
        Some(Series { name, points: vec![point] })
    });
    let series: Vec<Series> = series.collect();
    (series.len() >= 2).then(|| Chart { title, x, series, scatter: true, ..Chart::default() })
}

/// ε on a logarithmic axis, with places behind it for models without a finite one.
struct Axis {
    /// Marks below and above all of them: 1, 2 and 5 times powers of ten.
    marks: Vec<f64>,
}

impl Axis {
    fn of(epsilons: impl Iterator<Item = f64>) -> Self {
        let known: Vec<f64> = epsilons.filter(|e| e.is_finite() && *e > 0.0).collect();
        let (low, high) = (
            known.iter().copied().fold(f64::MAX, f64::min),
            known.iter().copied().fold(0.0, f64::max),
        );
        let all = (-6..=6).flat_map(|power| [1.0, 2.0, 5.0].map(|unit| unit * 10f64.powi(power)));
        let all: Vec<f64> = all.collect();
        let first = all.iter().rposition(|mark| *mark <= low).unwrap_or(0);
        let last = all.iter().position(|mark| *mark >= high).unwrap_or(all.len() - 1);
        let marks =
            if known.is_empty() { Vec::new() } else { all[first..=last.max(first)].to_vec() };
        Self { marks }
    }

    /// Where the marks end, and how far behind them the others stand.
    fn end(&self) -> (f64, f64) {
        let (Some(first), Some(last)) = (self.marks.first(), self.marks.last()) else {
            return (0.0, 1.0);
        };
        (last.log10(), (0.25 * (last.log10() - first.log10())).max(0.25))
    }

    fn place(&self, one: &ModelReport) -> f64 {
        let (end, gap) = self.end();
        match one.model.figures.epsilon() {
            // A larger one than the marks reach stands at their end.
            Some(epsilon) if epsilon > 0.0 => epsilon.log10().clamp(-6.0, end),
            Some(_) => -6.0,
            None if one.model.figures.is_clip_only() => end + gap,
            None => end + 2.0 * gap,
        }
    }

    fn ticks(&self, report: &Report) -> Vec<(f64, String)> {
        let marks = self.marks.iter().map(|mark| (mark.log10(), format!("{mark}")));
        let (end, gap) = self.end();
        let none = |clip_only: bool| {
            let mut models = report.models.iter().map(|one| &one.model.figures);
            models.any(|figures| figures.epsilon().is_none() && figures.is_clip_only() == clip_only)
        };
        let clipped = none(true).then(|| (end + gap, "∞".to_string()));
        let others = none(false).then(|| (end + 2.0 * gap, "none".to_string()));
        marks.chain(clipped).chain(others).collect()
    }
}
