//! A client of Private AI's `process/text`, versions 3 and 4.

use std::collections::BTreeMap;
use std::sync::Arc;

use pft_pii::{LoadError, Span, TagError, Tagger};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::Address;
use super::offsets::CharOffsets;
use super::transport::{Connection, Failure, Transport};
use super::{Entity, limits, requests, span};

/// Changes whenever this client may answer differently.
const REVISION: u32 = 1;

/// Which version of the interface the service speaks. The bodies are the same; the routes differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ApiVersion {
    /// `v3/process/text`
    V3,
    /// `process/text`
    #[default]
    V4,
}

/// What to ask of the service.
#[derive(Clone, Debug)]
pub struct PrivateAiOptions {
    /// The root of the service: what comes before `v3/process/text` or `process/text`.
    pub url: String,
    /// The version of the interface.
    pub api_version: ApiVersion,
    /// The key, sent as `x-api-key`; a container of one's own may need none.
    pub key: Option<String>,
    /// The name of the detection model, such as `high`; without it the service's own choice.
    pub accuracy: Option<String>,
    /// The service's names of the kinds to look for; empty for all.
    pub entities: Vec<String>,
    /// Names the service's state. Another value makes another fingerprint.
    pub version: String,
    /// How the service is talked to.
    pub connection: Connection,
}

/// A Private AI service.
pub struct PrivateAiTagger {
    transport: Transport,
    accuracy: Option<String>,
    entities: Vec<String>,
    name: Arc<str>,
    fingerprint: String,
}

#[derive(Serialize)]
struct Request<'a> {
    text: &'a [&'a str],
    /// Always false: linked texts share context, and they may belong to different people.
    link_batch: bool,
    entity_detection: Detection<'a>,
    processed_text: Processed,
}

#[derive(Serialize)]
struct Detection<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    accuracy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_types: Option<[Selector<'a>; 1]>,
    return_entity: bool,
}

#[derive(Serialize)]
struct Selector<'a> {
    r#type: &'static str,
    value: &'a [String],
}

#[derive(Serialize)]
struct Processed {
    r#type: &'static str,
    pattern: &'static str,
}

#[derive(Deserialize)]
struct Answer {
    entities: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    text: Option<String>,
    location: Location,
    best_label: String,
    #[serde(default)]
    labels: BTreeMap<String, f64>,
}

#[derive(Deserialize)]
struct Location {
    stt_idx: u64,
    end_idx: u64,
}

impl PrivateAiTagger {
    /// Prepares the client; the service is first talked to when it gets texts.
    ///
    /// # Errors
    /// When a setting is wrong; the error names its key.
    pub fn new(options: PrivateAiOptions) -> Result<Self, LoadError> {
        let PrivateAiOptions { url, api_version, key, accuracy, mut entities, version, connection } =
            options;
        let address = Address::parse(&url)?;
        entities.sort_unstable();
        entities.dedup();
        let asked = (address.as_str(), api_version, &accuracy, &entities, &version);
        let fingerprint = format!("private-ai/{REVISION}/{asked:?}");
        let route = match api_version {
            ApiVersion::V3 => "v3/process/text",
            ApiVersion::V4 => "process/text",
        };
        let credential = key.map(|key| ("x-api-key", key));
        let transport = Transport::new("private-ai", &address, route, credential, connection)?;
        Ok(Self { transport, accuracy, entities, name: "private-ai".into(), fingerprint })
    }

    fn send(&self, texts: &[&str], patient: bool) -> Result<Vec<Vec<Span>>, Failure> {
        let selector = Selector { r#type: "ENABLE", value: &self.entities };
        let request = Request {
            text: texts,
            link_batch: false,
            entity_detection: Detection {
                accuracy: self.accuracy.as_deref(),
                entity_types: (!self.entities.is_empty()).then_some([selector]),
                return_entity: true,
            },
            processed_text: Processed {
                r#type: "MARKER",
                pattern: "[UNIQUE_NUMBERED_ENTITY_TYPE]",
            },
        };
        let body = serde_json::to_vec(&request)
            .map_err(|_| Failure::Texts("private-ai: the request cannot be written".into()))?;
        let answer = self.transport.post(&body, patient)?;
        let answers: Vec<Answer> = serde_json::from_slice(&answer)
            .map_err(|_| self.transport.nonsense("its JSON is not that of process/text"))?;
        if answers.len() != texts.len() {
            return Err(self.transport.nonsense("it has another number of answers than of texts"));
        }
        texts.iter().zip(&answers).map(|(text, answer)| self.spans(text, answer)).collect()
    }

    fn spans(&self, text: &str, answer: &Answer) -> Result<Vec<Span>, Failure> {
        let offsets = CharOffsets::new(text);
        answer
            .entities
            .iter()
            .map(|found| {
                let label = &found.best_label;
                let best = found.labels.values().copied().reduce(f64::max);
                let entity = Entity {
                    label,
                    score: found.labels.get(label).copied().or(best).unwrap_or(1.0),
                    start: found.location.stt_idx,
                    end: found.location.end_idx,
                };
                let span = span(&entity, &offsets, &self.name)
                    .map_err(|what| self.transport.nonsense(what))?;
                // Offsets in another unit would leave half a name in the clear: compare.
                let covered = &text[span.start..span.end];
                if found.text.as_ref().is_some_and(|found| !same_words(found, covered)) {
                    return Err(self.transport.nonsense("an entity's offsets and text differ"));
                }
                Ok(span)
            })
            .collect()
    }
}

/// Whether two texts are equal but for white space.
fn same_words(a: &str, b: &str) -> bool {
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    a == b || letters(a) == letters(b)
}

impl Tagger for PrivateAiTagger {
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
