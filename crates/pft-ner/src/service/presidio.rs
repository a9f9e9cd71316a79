//! A client of Presidio's analyzer service.

use std::sync::Arc;

use pft_pii::{LoadError, Span, TagError, Tagger};
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::offsets::CharOffsets;
use super::transport::{Connection, Failure, Transport};
use super::{Entity, limits, requests, span};

/// Changes whenever this client may answer differently.
const REVISION: u32 = 1;

/// What to ask of an analyzer.
#[derive(Clone, Debug)]
pub struct PresidioOptions {
    /// The root of the service.
    pub url: String,
    /// The language of the texts, as Presidio calls it.
    pub language: String,
    /// Presidio's names of the kinds to look for; empty for all that the service knows.
    pub entities: Vec<String>,
    /// The score that an entity needs; without it the service's own.
    pub score_threshold: Option<f32>,
    /// Names the service's state: its models and recognizers. Another value makes another fingerprint.
    pub version: String,
    /// The value of the `Authorization` header, for services behind a gate.
    pub authorization: Option<String>,
    /// How the service is talked to.
    pub connection: Connection,
}

/// A Presidio analyzer.
pub struct PresidioTagger {
    transport: Transport,
    language: String,
    entities: Vec<String>,
    score_threshold: Option<f32>,
    name: Arc<str>,
    fingerprint: String,
}

#[derive(Serialize)]
struct Request<'a> {
    text: Texts<'a>,
    language: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    entities: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    score_threshold: Option<f32>,
}

/// One text or a list: what older analyzers take is the former only.
#[derive(Serialize)]
#[serde(untagged)]
enum Texts<'a> {
    One(&'a str),
    Many(&'a [&'a str]),
}

#[derive(Deserialize)]
struct Found {
    entity_type: String,
    start: u64,
    end: u64,
    score: f64,
}

impl PresidioTagger {
    /// Prepares the client; the service is first talked to when it gets texts.
    ///
    /// # Errors
    /// When a setting is wrong; the error names its key.
    pub fn new(options: PresidioOptions) -> Result<Self, LoadError> {
        let PresidioOptions { url, language, mut entities, score_threshold, version, .. } = options;
        let address = Address::parse(&url)?;
        if language.is_empty() {
            return Err(LoadError::Config(
                "language: empty; Presidio needs one, such as en".into(),
            ));
        }
        if score_threshold.is_some_and(|score| !(0.0..=1.0).contains(&score)) {
            return Err(LoadError::Config("score_threshold: not between 0 and 1".into()));
        }
        entities.sort_unstable();
        entities.dedup();
        let asked = (address.as_str(), &language, &entities, &score_threshold, &version);
        let fingerprint = format!("presidio/{REVISION}/{asked:?}");
        let credential = options.authorization.map(|value| ("authorization", value));
        let transport =
            Transport::new("presidio", &address, "analyze", credential, options.connection)?;
        let name = "presidio".into();
        Ok(Self { transport, language, entities, score_threshold, name, fingerprint })
    }

    fn send(&self, texts: &[&str], patient: bool) -> Result<Vec<Vec<Span>>, Failure> {
        let text = match texts {
            [text] => Texts::One(text),
            _ => Texts::Many(texts),
        };
        let one = matches!(text, Texts::One(_));
        let request = Request {
            text,
            language: &self.language,
            entities: &self.entities,
            score_threshold: self.score_threshold,
        };
        let body = serde_json::to_vec(&request)
            .map_err(|_| Failure::Texts("presidio: the request cannot be written".into()))?;
        let answer = self.transport.post(&body, patient)?;
        let found: Option<Vec<Vec<Found>>> = if one {
            serde_json::from_slice(&answer).ok().map(|found| vec![found])
        } else {
            serde_json::from_slice(&answer).ok()
        };
        let found = found.ok_or_else(|| {
            self.transport.nonsense("its JSON is not the analyzer's list of entities")
        })?;
        if found.len() != texts.len() {
            return Err(self.transport.nonsense("it has another number of lists than of texts"));
        }
        texts.iter().zip(&found).map(|(text, found)| self.spans(text, found)).collect()
    }

    fn spans(&self, text: &str, found: &[Found]) -> Result<Vec<Span>, Failure> {
        let offsets = CharOffsets::new(text);
        found
            .iter()
            .map(|found| {
                let Found { entity_type: label, start, end, score } = found;
                let entity = Entity { label, score: *score, start: *start, end: *end };
                span(&entity, &offsets, &self.name).map_err(|what| self.transport.nonsense(what))
            })
            .collect()
    }
}

impl Tagger for PresidioTagger {
    fn name(&self) -> &str {
        &self.name
    }

    fn fingerprint(&self) -> String {
        self.fingerprint.clone()
    }

    fn tag_batch(&self, texts: &[&str]) -> Vec<Result<Vec<Span>, TagError>> {
        let limits = limits(self.transport.batch());
        requests::tag(texts, &limits, self.transport.concurrency(), |texts, patient| {
            self.send(texts, patient)
        })
    }
}
