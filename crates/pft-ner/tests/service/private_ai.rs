//! Private AI's client against a server that follows its documented JSON.

use pft_ner::service::{ApiVersion, Connection, PrivateAiOptions, PrivateAiTagger};
use pft_pii::Tagger;
use serde_json::{Value, json};

use crate::server::{Reply, Request, Server, quick};

fn options(url: &str) -> PrivateAiOptions {
    PrivateAiOptions {
        url: url.to_string(),
        api_version: ApiVersion::V4,
        key: Some("the-key".into()),
        accuracy: Some("high".into()),
        entities: vec!["NAME".into(), "AGE".into()],
        version: String::new(),
        connection: Connection { batch: 8, ..quick() },
    }
}

/// An answer as documented, with `José` as the only entity wherever it stands.
fn answer(text: &str) -> Value {
    let entities: Vec<Value> = text
        .match_indices("José")
        .enumerate()
        .map(|(n, (at, name))| {
            let start = text[..at].chars().count();
            json!({
                "processed_text": format!("NAME_{}", n + 1),
                "text": name,
                "location": {"stt_idx": start, "end_idx": start + 4,
                    "stt_idx_processed": 0, "end_idx_processed": 8},
                "best_label": "NAME_GIVEN",
                "labels": {"NAME": 0.97, "NAME_GIVEN": 0.91},
            })
        })
        .collect();
    json!({
        "processed_text": text.replace("José", "[NAME_1]"),
        "entities": entities,
        "entities_present": text.contains("José"),
        "characters_processed": text.chars().count(),
        "languages_detected": {"es": 0.9},
    })
}

fn documented(request: &Request) -> Reply {
    let texts = request.body["text"].as_array().unwrap();
    Value::from_iter(texts.iter().map(|text| answer(text.as_str().unwrap()))).into()
}

#[test]
fn both_versions_are_spoken() {
    for (api_version, path) in
        [(ApiVersion::V3, "/v3/process/text"), (ApiVersion::V4, "/process/text")]
    {
        let server = Server::start(|_, request| documented(request));
        let tagger =
            PrivateAiTagger::new(PrivateAiOptions { api_version, ..options(&server.url) }).unwrap();
        let texts = ["漢字 José, José", "nobody", " "];
        let results = tagger.tag_batch(&texts);
        let spans = results[0].as_ref().unwrap();
        let found: Vec<_> = spans.iter().map(|s| (&texts[0][s.start..s.end], &*s.label)).collect();
        assert_eq!(found, [("José", "NAME_GIVEN"); 2]);
        assert!(spans.iter().all(|span| (span.score - 0.91).abs() < 1e-6));
        assert!(results[1..].iter().all(|result| result.as_ref().unwrap().is_empty()));

        let request = server.requests().remove(0);
        assert_eq!(request.path, path);
        assert_eq!(request.headers["x-api-key"], "the-key");
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(
            request.body,
            json!({
                "text": [texts[0], texts[1]],
                "link_batch": false,
                "entity_detection": {
                    "accuracy": "high",
                    "entity_types": [{"type": "ENABLE", "value": ["AGE", "NAME"]}],
                    "return_entity": true,
                },
                "processed_text": {"type": "MARKER", "pattern": "[UNIQUE_NUMBERED_ENTITY_TYPE]"},
            })
        );
        assert!(!tagger.fingerprint().contains("the-key"));
    }
}

#[test]
fn what_is_not_asked_is_not_sent() {
    let server = Server::start(|_, request| documented(request));
    let options = PrivateAiOptions {
        key: None,
        accuracy: None,
        entities: Vec::new(),
        ..options(&server.url)
    };
    PrivateAiTagger::new(options).unwrap().tag_batch(&["x"]).remove(0).unwrap();
    let request = server.requests().remove(0);
    assert_eq!(request.body["entity_detection"], json!({"return_entity": true}));
    assert!(!request.headers.contains_key("x-api-key"));
}

#[test]
fn answers_that_do_not_fit_are_refused() {
    let broken = |change: &'static (dyn Fn(&mut Value) + Sync)| {
        let server = Server::start(move |_, _| {
            let mut body = json!([answer("漢字 José")]);
            change(&mut body);
            body.into()
        });
        let tagger = PrivateAiTagger::new(options(&server.url)).unwrap();
        tagger.tag_batch(&["漢字 José"]).remove(0).unwrap_err().to_string()
    };
    let message = broken(&|body| body[0]["entities"][0]["location"]["end_idx"] = json!(10));
    assert!(message.contains("private-ai at http://127.0.0.1"), "{message}");
    assert!(message.contains("outside the text"), "{message}");
    // Offsets in bytes instead of characters.
    let message = broken(&|body| {
        body[0]["entities"][0]["location"] = json!({"stt_idx": 2, "end_idx": 6});
    });
    assert!(message.contains("differ") && !message.contains("José"), "{message}");
    let message = broken(&|body| *body = body[0].take());
    assert!(message.contains("JSON"), "{message}");
    let message = broken(&|body| *body = json!([]));
    assert!(message.contains("number of answers"), "{message}");
    let message = broken(&|body| {
        body[0].as_object_mut().unwrap().remove("entities");
    });
    assert!(message.contains("JSON"), "{message}");
    let server = Server::start(|_, _| Reply::status(403));
    let tagger = PrivateAiTagger::new(options(&server.url)).unwrap();
    let message = tagger.tag_batch(&["x"]).remove(0).unwrap_err().to_string();
    assert!(message.contains("key") && !message.contains("the-key"), "{message}");
}
