//! The parts of a page.

use std::fmt::Write;

use super::charts::{Chart, Series, figure};
use super::data::{ModelReport, Report};
use super::frontier;
use crate::picture::{Box, escape, svg};
use crate::privacy::Privacy;
use crate::reason::{flatten, show};
use crate::record::RunRecord;
use crate::table::{short, size, time};

/// A part with its heading.
pub(crate) struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: String,
    pub(crate) body: String,
}

fn section(id: &'static str, title: &str, body: String) -> Option<Section> {
    (!body.is_empty()).then(|| Section { id, title: title.to_string(), body })
}

/// What stands at the top.
pub(crate) fn notice(public: bool) -> &'static str {
    if public {
        "<p class=\"quiet\">This page holds what may be given away with a model: its privacy statement, and \
         the stages that made it. Losses, perplexities, counts and audit figures were computed on private \
         data; they are left out.</p>"
    } else {
        "<p class=\"notice\" role=\"note\"><strong>This page is private.</strong> Losses, perplexities, \
         gaps, counts and audit figures were computed on private data, and ε does not cover them. Settings \
         and names of files may tell about people, too. <code>report --public</code> makes a page without \
         them.</p>"
    }
}

/// All parts.
pub(crate) fn private(report: &Report) -> Vec<Section> {
    let parts = [
        section("privacy", "Privacy", statements(report)),
        section("models", "Models", models(report)),
        section("frontier", "Privacy, utility, memorisation", frontier::charts(report)),
        section("training", "Training", curves(report)),
        section("personal-data", "Personal data", counts(report)),
        section("graph", "Stages", graphs(report, true)),
        section("timeline", "Timeline", timelines(report)),
        section("lineage", "Where the models came from", lineage(report)),
        section("settings", "Settings", settings(report)),
    ];
    parts.into_iter().flatten().collect()
}

/// What a bundle may hold.
pub(crate) fn public(report: &Report) -> Vec<Section> {
    let mut text = String::new();
    for bundle in &report.bundles {
        let _ =
            write!(text, "<h3>{}</h3>{}", escape(&bundle.name), statement(bundle.privacy.as_ref()));
    }
    if report.bundles.is_empty() {
        text =
            "<p>These runs made no bundle, so there is no statement to give away.</p>".to_string();
    }
    let stages = section("graph", "Stages", graphs(report, false));
    [section("privacy", "Privacy", text), stages].into_iter().flatten().collect()
}

fn statements(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.models {
        let _ = write!(
            text,
            "<h3>{}</h3>{}",
            escape(&one.model.stage),
            statement(one.model.figures.privacy.as_ref())
        );
    }
    text
}

fn statement(privacy: Option<&Privacy>) -> String {
    let Some(privacy) = privacy else {
        return "<p class=\"statement none\">There is no privacy statement.</p>".to_string();
    };
    let class = if privacy.bound().is_none() { "statement none" } else { "statement" };
    let mut text = format!("<p class=\"{class}\">{}</p>", escape(&privacy.statement));
    for (items, title) in [
        (&privacy.couplings, "Units decided about each other"),
        (&privacy.other_uses, "What else touched the data"),
    ] {
        let items: String = items.iter().map(|item| format!("<li>{}</li>", escape(item))).collect();
        if !items.is_empty() {
            let _ = write!(text, "<details><summary>{title}</summary><ul>{items}</ul></details>");
        }
    }
    text
}

/// A table; the first column names the row, those in `numbers` stand to the right.
fn table(caption: &str, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    let escaped = |row: &Vec<String>| row.iter().map(|cell| escape(cell)).collect();
    table_of(caption, head, numbers, &rows.iter().map(escaped).collect::<Vec<_>>())
}

/// As [`table`], with cells that are HTML.
fn table_of(caption: &str, head: &[&str], numbers: &[usize], rows: &[Vec<String>]) -> String {
    let class = |column: usize| match numbers.contains(&column) {
        true => " class=\"number\"",
        false if column + 1 == head.len() && column > 0 => " class=\"text\"",
        false => "",
    };
    let mut text = format!(
        "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{0}\"><table><caption>{0}</caption><thead><tr>",
        escape(caption)
    );
    for (column, title) in head.iter().enumerate() {
        let _ = write!(text, "<th scope=\"col\"{}>{}</th>", class(column), escape(title));
    }
    text += "</tr></thead><tbody>\n";
    for row in rows {
        text += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            let _ = match column {
                0 => write!(text, "<th scope=\"row\">{cell}</th>"),
                _ => write!(text, "<td{}>{cell}</td>", class(column)),
            };
        }
        text += "</tr>\n";
    }
    text + "</tbody></table></div>\n"
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_string(), |value| format!("{value:.digits$}"))
}

fn models(report: &Report) -> String {
    if report.models.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = report
        .models
        .iter()
        .map(|one| {
            let (model, figures) = (&one.model, &one.model.figures);
            let mut cells = vec![model.stage.clone()];
            cells.extend(figures.privacy_cells());
            cells.extend([
                number(figures.before.all, 3),
                number(figures.held_out.all, 3),
                number(figures.held_out.pii, 3),
                number(figures.held_out.other, 3),
                number(figures.train.all, 3),
                number(figures.train.pii, 3),
                number(figures.memorisation_gap, 4),
                figures.audit.as_ref().map_or("–".to_string(), show),
                model.seconds.map_or("–".to_string(), time),
                model.peak_memory.map_or("–".to_string(), size),
            ]);
            cells
        })
        .collect();
    let head = [
        "model",
        "ε",
        "δ",
        "for release",
        "before",
        "held-out",
        "in personal data",
        "in other text",
        "training",
        "in personal data",
        "gap",
        "audit",
        "time",
        "memory",
    ];
    let caption = "Perplexities: before training, on held-out text, on training text. Gap: loss on held-out \
                   personal data less that on personal data of training, in nats a token. For release: as a private \
                   model";
    table(caption, &head, &[1, 2, 4, 5, 6, 7, 8, 9, 10, 12, 13], &rows)
}

fn curves(report: &Report) -> String {
    let lines = |title: &str, column: &str, y: &str| {
        let series = report.models.iter().map(|one| Series {
            name: format!("{}, {}", one.model.stage, one.model.figures.defence()),
            points: points(one, column),
        });
        figure(&Chart { title, x: "step", y, series: series.collect(), ..Chart::default() })
    };
    let charts = [
        lines("Loss of each step", "loss", "nats a token"),
        lines("ε spent by each step", "epsilon", "ε"),
        lines("Held-out perplexity", "held_out_perplexity", "perplexity"),
        lines("Held-out perplexity in personal data", "held_out_pii_perplexity", "perplexity"),
    ]
    .concat();
    if charts.is_empty() { charts } else { format!("<div class=\"charts\">{charts}</div>") }
}

fn points(one: &ModelReport, column: &str) -> Vec<(f64, f64)> {
    let find = |name: &str| one.curves.iter().find(|(other, _)| other == name).map(|(_, v)| v);
    let (Some(steps), Some(values)) = (find("step"), find(column)) else { return Vec::new() };
    let pairs = steps.iter().zip(values).filter_map(|(step, value)| Some(((*step)?, (*value)?)));
    pairs.filter(|(_, value)| value.is_finite()).collect()
}

fn counts(report: &Report) -> String {
    if report.counts.is_empty() {
        return String::new();
    }
    let names: std::collections::BTreeSet<&String> =
        report.counts.iter().flat_map(|counts| &counts.labels).map(|(label, _)| label).collect();
    let mut head = vec!["label".to_string()];
    head.extend(report.counts.iter().map(|counts| {
        format!("{} in {}", if counts.replaced { "replaced" } else { "found" }, counts.name)
    }));
    let rows: Vec<Vec<String>> = names
        .into_iter()
        .map(|label| {
            let of = |counts: &super::data::Counts| {
                let found = counts.labels.iter().find(|(other, _)| other == label);
                found.map_or("–".to_string(), |(_, count)| count.to_string())
            };
            std::iter::once(label.clone()).chain(report.counts.iter().map(of)).collect()
        })
        .collect();
    let head: Vec<&str> = head.iter().map(String::as_str).collect();
    let numbers: Vec<usize> = (1..head.len()).collect();
    table(
        "Spans of personal data by label, as taggers found them and as they were replaced",
        &head,
        &numbers,
        &rows,
    )
}

fn graphs(report: &Report, private: bool) -> String {
    let mut text = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for run in report.runs.iter().rev() {
        if seen.contains(&&run.pipeline[..]) {
            continue;
        }
        seen.push(&run.pipeline);
        let title = format!("Stages of {}", run.pipeline);
        let drawn = svg(&title, &boxes(run, private), false);
        let (name, label) = (escape(&run.pipeline), escape(&title));
        let _ = write!(
            text,
            "<h3>{name}</h3><div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"{label}\">{drawn}</div>"
        );
    }
    text
}

fn boxes(run: &RunRecord, private: bool) -> Vec<Box> {
    let index = |name: &str| run.stages.iter().position(|stage| stage.name == name);
    let boxes = run.stages.iter().map(|stage| {
        let sources = stage.inputs.values();
        let source = |from: &String| from.rsplit_once('.').and_then(|(stage, _)| index(stage));
        let mut needs: Vec<usize> = sources.filter_map(source).collect();
        needs.sort_unstable();
        needs.dedup();
        let (status, revision) = (&stage.status, stage.revision);
        let note = match private {
            true => format!("{}, {status}", stage.stage),
            false => format!("{}, revision {revision}", stage.stage),
        };
        let class = if private { status.clone() } else { String::new() };
        Box { name: stage.name.clone(), note, class, needs }
    });
    boxes.collect()
}

fn timelines(report: &Report) -> String {
    let mut text = String::new();
    for run in &report.runs {
        let begun: Option<jiff::Timestamp> = run.started.parse().ok();
        let rows: Vec<Vec<String>> = run
            .stages
            .iter()
            .map(|stage| {
                let begin = stage.started.as_ref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
                let lane = begun.zip(begin).map(|(begun, begin)| {
                    let total = run.seconds.max(1e-9);
                    let offset = begin.duration_since(begun).as_secs_f64();
                    let left = (100.0 * offset / total).clamp(0.0, 100.0);
                    let width = (100.0 * stage.seconds / total).clamp(0.0, 100.0 - left);
                    format!(
                        "<div class=\"lane\" aria-hidden=\"true\"><div class=\"bar\" style=\"left:{left:.2}%;width:{width:.2}%\"></div></div>"
                    )
                });
                vec![
                    escape(&stage.name),
                    escape(&stage.status),
                    if lane.is_some() { time(stage.seconds) } else { String::new() },
                    stage.threads.map(|threads| threads.to_string()).unwrap_or_default(),
                    stage.peak_memory.map(size).unwrap_or_default(),
                    lane.unwrap_or_default(),
                ]
            })
            .collect();
        let caption = format!(
            "{}, {} of {}, {} cores, {} at once",
            run.run,
            time(run.seconds),
            run.pipeline,
            run.cores,
            run.jobs
        );
        let head = ["stage", "", "time", "threads", "memory", "when"];
        text += &table_of(&caption, &head, &[2, 3, 4], &rows);
    }
    text
}

fn lineage(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.models {
        let rows: Vec<Vec<String>> = one
            .lineage
            .iter()
            .map(|step| {
                let files: Vec<String> = step
                    .files
                    .iter()
                    .take(8)
                    .map(|(name, hash)| format!("{name} {}", short(hash)))
                    .collect();
                let more = step.files.len().saturating_sub(8);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                let port = step.port.clone().unwrap_or_default();
                let stage = format!("{} (revision {})", step.stage, step.revision);
                vec![stage, port, short(&step.artifact), files.join(", ") + &more]
            })
            .collect();
        let caption = format!("What {} was made from", one.model.stage);
        text +=
            &table(&caption, &["stage", "as", "artifact", "files outside the store"], &[], &rows);
    }
    text
}

fn settings(report: &Report) -> String {
    let mut text = String::new();
    for one in &report.settings {
        let mut rows = Vec::new();
        flatten(&one.config, "", &mut |key, value| rows.push(vec![key, show(value)]));
        let name = escape(&one.name);
        let _ = write!(text, "<details><summary>{name} ({})</summary>", escape(&one.stage));
        text += &table(&format!("Settings of {}", one.name), &["key", "value"], &[], &rows);
        text += "</details>\n";
    }
    text
}
