//! From texts to requests and back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use pft_pii::{Span, TagError};

use super::transport::Failure;

/// How much one request holds at most; a single text may be longer.
pub(super) struct Limits {
    pub(super) texts: usize,
    pub(super) bytes: usize,
}

/// Tags texts in requests of bounded size, several at once. `send` gets the texts of one request, and
/// whether to try again where that may help, and returns the spans of each text. Where a request fails
/// for its texts, each of them is sent alone, so that one that the service cannot stand takes no
/// other with it; where the service is away, what is left is not sent.
pub(super) fn tag(
    texts: &[&str],
    limits: &Limits,
    concurrency: usize,
    send: impl Fn(&[&str], bool) -> Result<Vec<Vec<Span>>, Failure> + Sync,
) -> Vec<Result<Vec<Span>, TagError>> {
    let requests = group(texts, limits);
    let mut results: Vec<Result<Vec<Span>, TagError>> =
        texts.iter().map(|_| Ok(Vec::new())).collect();
    let next = AtomicUsize::new(0);
    let away: Mutex<Option<Failure>> = Mutex::new(None);
    let answers = Mutex::new(Vec::with_capacity(requests.len()));
    let run = |request: &[usize], patient: bool| {
        if let Some(failure) = away.lock().unwrap_or_else(PoisonError::into_inner).clone() {
            return Err(failure);
        }
        let contents: Vec<&str> = request.iter().map(|&text| texts[text]).collect();
        let result = send(&contents, patient);
        if let Err(failure @ Failure::Service(_)) = &result {
            *away.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
        }
        result
    };
    // Threads of our own, because they wait and do not compute.
    let work = || {
        while let Some(request) = requests.get(next.fetch_add(1, Ordering::Relaxed)) {
            let mut found = Vec::with_capacity(request.len());
            match run(request, true) {
                Err(Failure::Texts(_)) if request.len() > 1 => {
                    for text in request {
                        found.push((*text, run(&[*text], false).map(|mut spans| spans.remove(0))));
                    }
                }
                Ok(spans) => found.extend(request.iter().copied().zip(spans.into_iter().map(Ok))),
                Err(failure) => {
                    found.extend(request.iter().map(|&text| (text, Err(failure.clone()))));
                }
            }
            answers.lock().unwrap_or_else(PoisonError::into_inner).append(&mut found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..concurrency.min(requests.len()) {
            scope.spawn(work);
        }
        work();
    });
    for (text, answer) in answers.into_inner().unwrap_or_else(PoisonError::into_inner) {
        results[text] = answer.map_err(TagError::from).map(|mut spans| {
            spans.sort_by_key(|span| (span.start, span.end));
            spans
        });
    }
    results
}

/// Requests as indexes of texts; texts of white space alone need none.
fn group(texts: &[&str], limits: &Limits) -> Vec<Vec<usize>> {
    let mut requests: Vec<Vec<usize>> = Vec::new();
    let mut bytes = 0;
    for (index, text) in texts.iter().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        match requests.last_mut() {
            Some(request) if request.len() < limits.texts && bytes + text.len() <= limits.bytes => {
                request.push(index);
                bytes += text.len();
            }
            _ => {
                requests.push(vec![index]);
                bytes = text.len();
            }
        }
    }
    requests
}
