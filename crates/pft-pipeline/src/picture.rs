//! The graph drawn: layers from left to right, each stage after what it needs.

use std::fmt::Write;

/// A stage to draw.
#[derive(Debug, Clone)]
pub(crate) struct Box {
    /// Its name in the pipeline.
    pub(crate) name: String,
    /// What stands below it: the stage, what became of it.
    pub(crate) note: String,
    /// The class that styles it: `ran`, `cached`, `failed`, …
    pub(crate) class: String,
    /// Which boxes it needs, by index; they stand before it.
    pub(crate) needs: Vec<usize>,
}

const HEIGHT: usize = 46;
const GAP: usize = 18;
const BETWEEN: usize = 56;
const MARGIN: usize = 8;
/// Width of a letter of 13 px, a little wide so that nothing sticks out.
const LETTER: usize = 8;

struct Layout {
    /// Left, top and width of each box.
    places: Vec<(usize, usize, usize)>,
    width: usize,
    height: usize,
}

fn layout(boxes: &[Box]) -> Layout {
    let mut layers: Vec<usize> = Vec::with_capacity(boxes.len());
    for one in boxes {
        let after = one.needs.iter().map(|&need| layers[need] + 1).max();
        layers.push(after.unwrap_or(0));
    }
    let count = layers.iter().max().map_or(0, |last| last + 1);
    let mut columns: Vec<Vec<usize>> = vec![Vec::new(); count];
    layers.iter().enumerate().for_each(|(index, &layer)| columns[layer].push(index));
    // Boxes stand near what they need: ordered by the middle of it, layer by layer.
    let mut rank = vec![0.0; boxes.len()];
    for column in &mut columns {
        let middle = |index: usize| {
            let needs = &boxes[index].needs;
            let sum: f64 = needs.iter().map(|&need| rank[need]).sum();
            if needs.is_empty() { 0.0 } else { sum / needs.len() as f64 }
        };
        let mut ordered: Vec<(f64, usize)> =
            column.iter().map(|&index| (middle(index), index)).collect();
        ordered.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        *column = ordered.into_iter().map(|(_, index)| index).collect();
        let length = column.len() as f64;
        for (place, &index) in column.iter().enumerate() {
            rank[index] = (place as f64 + 0.5) / length;
        }
    }
    let tallest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let height = 2 * MARGIN + tallest * (HEIGHT + GAP) - GAP.min(tallest * GAP);
    let (mut places, mut left) = (vec![(0, 0, 0); boxes.len()], MARGIN);
    for column in &columns {
        let letters = |index: &usize| {
            boxes[*index].name.chars().count().max(boxes[*index].note.chars().count())
        };
        let width = column.iter().map(letters).max().unwrap_or(0) * LETTER + 24;
        let used = column.len() * (HEIGHT + GAP) - GAP;
        let mut top = (height - used) / 2;
        for &index in column {
            places[index] = (left, top, width);
            top += HEIGHT + GAP;
        }
        left += width + BETWEEN;
    }
    Layout { places, width: left - BETWEEN.min(left) + MARGIN, height }
}

/// A picture for a page of its own, or for one that styles its classes (`styled`).
pub(crate) fn svg(title: &str, boxes: &[Box], styled: bool) -> String {
    let Layout { places, width, height } = layout(boxes);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"graph\" role=\"img\" \
         aria-label=\"{}\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n",
        escape(title)
    );
    if styled {
        text += STYLE;
    }
    for (index, one) in boxes.iter().enumerate() {
        let (x, y, _) = places[index];
        for &need in &one.needs {
            let (from, top, wide) = places[need];
            let (from, start) = (from + wide, top + HEIGHT / 2);
            let (end, middle) = (y + HEIGHT / 2, (from + x) / 2);
            let _ = writeln!(
                text,
                "<path class=\"edge\" d=\"M{from} {start} C{middle} {start} {middle} {end} {x} {end}\"/>"
            );
        }
    }
    for (one, (x, y, width)) in boxes.iter().zip(places) {
        let (name, note, class) = (escape(&one.name), escape(&one.note), escape(&one.class));
        let (center, first, second) = (x + width / 2, y + 19, y + 36);
        let _ = writeln!(
            text,
            "<g class=\"stage {class}\"><rect x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{HEIGHT}\" \
             rx=\"6\"/><text x=\"{center}\" y=\"{first}\">{name}</text><text class=\"note\" \
             x=\"{center}\" y=\"{second}\">{note}</text></g>"
        );
    }
    text + "</svg>\n"
}

const STYLE: &str = "<style>
.graph { font: 13px system-ui, sans-serif; background: #fff }
.graph text { text-anchor: middle; fill: #1b1f24 } .graph .note { font-size: 11px; fill: #57606a }
.graph rect { fill: #f3f5f7; stroke: #8c959f } .graph .edge { fill: none; stroke: #8c959f }
.graph .ran rect { fill: #dbeafe; stroke: #2563eb } .graph .cached rect { fill: #dcfce7; stroke: #15803d }
.graph .failed rect { fill: #fee2e2; stroke: #b91c1c }
@media (prefers-color-scheme: dark) {
.graph { background: #14181d } .graph text { fill: #e6e9ed } .graph .note { fill: #a3adb8 }
.graph rect { fill: #232a32 } .graph .ran rect { fill: #1e2f52 }
.graph .cached rect { fill: #173524 } .graph .failed rect { fill: #4a1d1f } }
</style>
";

/// Text for XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The graph for Mermaid.
pub(crate) fn mermaid(boxes: &[Box]) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, one) in boxes.iter().enumerate() {
        // Mermaid's own escapes: its quotes end at a quote, and it reads entities written with #.
        let label = format!("{}<br>{}", escape(&one.name), escape(&one.note)).replace('#', "#35;");
        let _ = writeln!(text, "  s{index}[\"{label}\"]");
    }
    for (index, one) in boxes.iter().enumerate() {
        for need in &one.needs {
            let _ = writeln!(text, "  s{need} --> s{index}");
        }
    }
    text
}

/// The graph for Graphviz.
pub(crate) fn dot(title: &str, boxes: &[Box]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    let mut text = format!("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n", quoted(title));
    for one in boxes {
        let label = quoted(&format!("{}\n{}", one.name, one.note)).replace('\n', "\\n");
        let _ = writeln!(text, "  {} [label={label}];", quoted(&one.name));
    }
    for one in boxes {
        for &need in &one.needs {
            let _ = writeln!(text, "  {} -> {};", quoted(&boxes[need].name), quoted(&one.name));
        }
    }
    text + "}\n"
}

/// The graph as lines: each stage with what it needs.
pub(crate) fn lines(boxes: &[Box]) -> String {
    let rows: Vec<Vec<String>> = boxes
        .iter()
        .map(|one| {
            let needs: Vec<&str> = one.needs.iter().map(|&need| &boxes[need].name[..]).collect();
            let from =
                if needs.is_empty() { String::new() } else { format!("← {}", needs.join(", ")) };
            vec![one.name.clone(), one.note.clone(), from]
        })
        .collect();
    crate::table::table(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boxes() -> Vec<Box> {
        let one = |name: &str, needs: &[usize]| Box {
            name: name.into(),
            note: "x".into(),
            class: "ran".into(),
            needs: needs.to_vec(),
        };
        vec![one("a<\"", &[]), one("b", &[0]), one("c", &[0]), one("d", &[1, 2])]
    }

    #[test]
    fn no_box_lies_on_another() {
        let Layout { places, width, height } = layout(&boxes());
        for (i, a) in places.iter().enumerate() {
            assert!(a.0 + a.2 < width && a.1 + HEIGHT <= height);
            for b in &places[..i] {
                let apart = a.0 + a.2 <= b.0 || b.0 + b.2 <= a.0 || a.1.abs_diff(b.1) >= HEIGHT;
                assert!(apart, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn names_are_escaped_in_every_format() {
        assert!(svg("t", &boxes(), true).contains("a&lt;&quot;"));
        assert!(dot("t", &boxes()).contains("\"a<\\\"\" -> \"b\";"));
        assert!(mermaid(&boxes()).contains("s1 --> s3"));
        assert!(lines(&boxes()).ends_with("← b, c"));
    }
}
