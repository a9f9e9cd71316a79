//! A report as a picture: recall by label, which labels are taken for which, and the kinds of miss.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::Report;

const CELL: usize = 52;
const MARGIN: usize = 130;
const ROW: usize = 22;
/// Kinds of miss that are shown.
const MISSES: usize = 12;

/// The report as an SVG picture.
pub fn svg(report: &Report) -> String {
    let columns: BTreeSet<&String> = report.confusion.values().flat_map(|row| row.keys()).collect();
    let bars = report.mentions_by_label.len();
    let misses = report.misses.len().min(MISSES);
    let width = (MARGIN + CELL * columns.len() + 40).max(640);
    let matrix_top = 70 + ROW * bars + 70;
    let misses_top = matrix_top + ROW * report.confusion.len() + 60;
    let height = misses_top + ROW * misses + 20;

    let mut out = String::new();
    let _ = writeln!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">"
    );
    let _ = writeln!(out, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>");
    text(
        &mut out,
        10,
        24,
        "start",
        &format!(
            "{} documents: mention recall {:.3}, characters P {:.3} R {:.3} F1 {:.3}, direct entities {:.3}",
            report.documents,
            report.mentions.recall,
            report.characters.precision,
            report.characters.recall,
            report.characters.f1,
            report.direct_entities.recall,
        ),
    );
    recall_bars(&mut out, report, width);
    confusion_matrix(&mut out, report, &columns, matrix_top);
    frequent_misses(&mut out, report, misses_top);
    out.push_str("</svg>\n");
    out
}

fn recall_bars(out: &mut String, report: &Report, width: usize) {
    text(out, 10, 54, "start", "Recall of must-mask mentions by label");
    for (n, (label, recall)) in report.mentions_by_label.iter().enumerate() {
        let y = 64 + ROW * n;
        let bar = recall.recall * (width - MARGIN - 180) as f64;
        text(out, MARGIN - 8, y + 14, "end", label);
        let _ = writeln!(
            out,
            "<rect x=\"{MARGIN}\" y=\"{y}\" width=\"{bar:.1}\" height=\"18\" fill=\"#3b6ea5\"/>"
        );
        let x = MARGIN + bar as usize + 6;
        text(out, x, y + 14, "start", &format!("{:.3} of {}", recall.recall, recall.gold));
    }
}

fn confusion_matrix(out: &mut String, report: &Report, columns: &BTreeSet<&String>, top: usize) {
    text(
        out,
        10,
        top - 40,
        "start",
        "Characters by gold label (rows) and predicted label (columns), share of the row",
    );
    for (c, column) in columns.iter().enumerate() {
        text(
            out,
            MARGIN + CELL * c + CELL / 2,
            top - 8,
            "middle",
            &column.chars().take(8).collect::<String>(),
        );
    }
    for (r, (row, counts)) in report.confusion.iter().enumerate() {
        let total: u64 = counts.values().sum();
        let y = top + ROW * r;
        text(out, MARGIN - 8, y + 15, "end", row);
        for (c, column) in columns.iter().enumerate() {
            let share =
                counts.get(*column).map_or(0.0, |&count| count as f64 / total.max(1) as f64);
            let x = MARGIN + CELL * c;
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{y}\" width=\"{CELL}\" height=\"{ROW}\" fill=\"#3b6ea5\" fill-opacity=\"{share:.3}\" stroke=\"#ddd\"/>"
            );
            if share >= 0.005 {
                text(out, x + CELL / 2, y + 15, "middle", &format!("{:.0}%", 100.0 * share));
            }
        }
    }
}

fn frequent_misses(out: &mut String, report: &Report, top: usize) {
    if !report.misses.is_empty() {
        text(out, 10, top - 10, "start", "Most frequent kinds of miss");
    }
    for (n, miss) in report.misses.iter().take(MISSES).enumerate() {
        let part = if miss.partly { "partly covered" } else { "not covered" };
        let y = top + ROW * n + 14;
        text(out, 60, y, "end", &miss.count.to_string());
        text(out, 70, y, "start", &format!("{}: {}, {part}", miss.label, miss.shape));
    }
}

fn text(out: &mut String, x: usize, y: usize, anchor: &str, content: &str) {
    let content = content.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let _ = writeln!(out, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{content}</text>");
}
