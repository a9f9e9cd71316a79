//! Tags JSON strings, one a line on standard input, and prints for each a line of JSON with the
//! entities (and, for spaCy, the tokens) as byte offsets; the speed goes to standard error.
//!
//!     cargo run --release -p pft-ner --example tag_lines -- spacy|transformer FOLDER [THREADS]

use std::io::{BufRead, Write};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, bail};
use pft_ner::spacy::SpacyTagger;
use pft_ner::transformer::{TransformerOptions, TransformerTagger};
use pft_pii::Tagger;
use rayon::prelude::*;
use serde_json::json;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let kind = arguments.next().context("give spacy or transformer")?;
    let folder = arguments.next().context("give the model's folder")?;
    let threads = arguments.next().map_or(Ok(1), |threads| threads.parse())?;
    let texts = std::io::stdin()
        .lock()
        .lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect::<anyhow::Result<Vec<String>>>()?;
    let spacy;
    let transformer;
    let (tagger, tokens): (&dyn Tagger, Option<&SpacyTagger>) = match &*kind {
        "spacy" => {
            spacy = SpacyTagger::load(Path::new(&folder))?;
            (&spacy, Some(&spacy))
        }
        "transformer" => {
            let options = TransformerOptions::default();
            transformer = TransformerTagger::load(Path::new(&folder), options)?;
            (&transformer, None)
        }
        other => bail!("`{other}` is neither spacy nor transformer"),
    };
    let batches: Vec<Vec<&str>> =
        texts.chunks(32).map(|batch| batch.iter().map(String::as_str).collect()).collect();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let start = Instant::now();
    let tagged: Vec<_> =
        pool.install(|| batches.par_iter().flat_map(|batch| tagger.tag_batch(batch)).collect());
    let seconds = start.elapsed().as_secs_f64();
    let words: usize = texts.iter().map(|text| text.split_whitespace().count()).sum();
    eprintln!("{words} words, {seconds:.2} s, {:.0} words/s", words as f64 / seconds);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for (text, spans) in texts.iter().zip(tagged) {
        let entities: Vec<_> =
            spans?.iter().map(|span| json!([span.start, span.end, &*span.label])).collect();
        let tokens = tokens.map(|tagger| {
            tagger
                .tokens(text)
                .into_iter()
                .map(|range| [range.start, range.end])
                .collect::<Vec<_>>()
        });
        writeln!(out, "{}", json!({"entities": entities, "tokens": tokens}))?;
    }
    Ok(())
}
