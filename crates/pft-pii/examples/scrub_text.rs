//! Scrubs a string: finds personal data by rules and puts labels in their place.
//!
//!     cargo run --release -p pft-pii --example scrub_text -- "Mr Jan Kowalski was born on 2 May 1961."

use pft_pii::combine::{Policy, combine, tag_texts};
use pft_pii::labels::default_pii;
use pft_pii::rules::{RulesConfig, RulesTagger};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = std::env::args().nth(1).ok_or("give a text")?;
    let rules = RulesTagger::new(&RulesConfig::default())?;
    // A text with an error is untagged, and must not pass as one without personal data.
    let found = tag_texts(&rules, &[&text]).remove(0)?;
    let policy = Policy::new(default_pii());
    // The number is the tagger's priority, for when several of them disagree.
    let spans = combine(&text, &[(0, &found)], &policy);

    let (mut scrubbed, mut end) = (String::new(), 0);
    for span in spans {
        scrubbed.push_str(&text[end..span.start]);
        scrubbed.push_str(&format!("[{}]", span.label));
        end = span.end;
    }
    scrubbed.push_str(&text[end..]);
    println!("{scrubbed}");
    Ok(())
}
