//! A report as a table for people.

use std::fmt::Write;

use super::{Recall, Report, Score};

impl Report {
    /// The report as text.
    pub fn table(&self) -> String {
        let mut out = String::new();
        let mut line = |text: String| {
            let _ = writeln!(out, "{text}");
        };
        line(format!("{} documents", self.documents));
        line(recall("must-mask mentions", self.mentions));
        line(recall("direct entities", self.direct_entities));
        line(recall("quasi entities", self.quasi_entities));
        line(String::new());
        line(format!("{:24} {:>9} {:>9} {:>9} {:>10}", "", "precision", "recall", "F1", "gold"));
        line(score("must-mask characters", &self.characters));
        line(score("exact spans", &self.exact));
        line(String::new());
        line(format!(
            "{:16} {:^29} {:^29} {:>12}",
            "label", "exact P / R / F1", "characters P / R / F1", "must-mask R"
        ));
        for (label, exact) in &self.exact_by_label {
            let characters = self.characters_by_label.get(label).copied().unwrap_or_default();
            let masked = self.mentions_by_label.get(label);
            line(format!(
                "{label:16} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>9.3} {:>12}",
                exact.precision,
                exact.recall,
                exact.f1,
                characters.precision,
                characters.recall,
                characters.f1,
                masked.map_or(String::from("-"), |m| format!("{:.3}", m.recall)),
            ));
        }
        if !self.misses.is_empty() {
            line(String::new());
            line("most frequent misses of must-mask mentions".to_string());
            for miss in self.misses.iter().take(15) {
                let part = if miss.partly { "partly covered" } else { "not covered" };
                line(format!("{:>6}  {}: {}, {part}", miss.count, miss.label, miss.shape));
                for text in &miss.texts {
                    line(format!("          {}", text.replace('\n', " ")));
                }
            }
        }
        if !self.unmapped_labels.is_empty() {
            let labels: Vec<&str> = self.unmapped_labels.iter().map(String::as_str).collect();
            line(String::new());
            line(format!(
                "left out of the figures by label, unknown to the gold's set: {}",
                labels.join(", ")
            ));
        }
        out
    }
}

fn recall(name: &str, recall: Recall) -> String {
    if recall.gold == 0 {
        return format!("{name:24} recall –     (the gold has none)");
    }
    format!("{name:24} recall {:.3} ({} of {})", recall.recall, recall.found, recall.gold)
}

fn score(name: &str, score: &Score) -> String {
    format!(
        "{name:24} {:>9.3} {:>9.3} {:>9.3} {:>10}",
        score.precision, score.recall, score.f1, score.gold
    )
}
