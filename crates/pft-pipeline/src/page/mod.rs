//! The page of a report: one file that opens from disk, without a script and without the network.
//!
//! Every figure stands in a table; the charts beside them are for the eye. What was computed on private
//! data is said to be, and a public page holds only what a bundle may hold.

mod charts;
mod data;
mod frontier;
mod sections;

use pft_artifact::Store;

pub(crate) use data::Report;

use crate::picture::escape;
use crate::record::RunRecord;

const STYLE: &str = include_str!("style.css");

/// The page for these runs. A public one holds nothing that was computed on private data.
pub(crate) fn page(store: &Store, records: &[RunRecord], public: bool) -> String {
    let report = Report::collect(store, records);
    let title = report.title();
    let sections = if public { sections::public(&report) } else { sections::private(&report) };
    let contents: Vec<String> = sections
        .iter()
        .map(|one| format!("<li><a href=\"#{}\">{}</a></li>", one.id, escape(&one.title)))
        .collect();
    let bodies: Vec<String> = sections
        .iter()
        .map(|one| {
            format!(
                "<section id=\"{0}\" aria-labelledby=\"{0}-title\"><h2 id=\"{0}-title\">{1}</h2>\n{2}\
                 </section>\n",
                one.id,
                escape(&one.title),
                one.body
            )
        })
        .collect();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src \
         'unsafe-inline'; img-src data:\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#main\">Skip to the results</a>\n<header>\n<h1>{title}</h1>\n{}\n\
         <nav aria-label=\"Contents\"><ul>{}</ul></nav>\n</header>\n<main id=\"main\">\n{}</main>\n\
         <footer>pft-pipeline {}</footer>\n</body>\n</html>\n",
        sections::notice(public),
        contents.join(""),
        bodies.join(""),
        env!("CARGO_PKG_VERSION"),
        title = escape(&title),
    )
}
