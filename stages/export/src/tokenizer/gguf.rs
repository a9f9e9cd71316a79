//! The tokenizer of a GGUF file. llama.cpp knows how texts are cut by a name alone, and computes
//! something else, without a word, where the name does not fit: what has no name is refused, and the
//! ids are compared before anything is written.

use std::collections::BTreeMap;

use pft_gguf::{GgufWriter, PreTokenizer, TokenType, Vocabulary};
use pft_stage::StageError;
use serde_json::{Value, json};

use super::Tokenizer;

/// Texts on which tokenizers part ways: contractions in either case, digits, spaces, scripts with
/// combining marks, composed letters, signs before line breaks.
const HARD_TEXTS: [&str; 14] = [
    "The applicant was born in 1961 and lives in Łódź.",
    " a space before, two  within, and three   after   ",
    "\tTabs\t\tand\n\nblank lines\r\n  \r\n of  \n spaces \u{a0} and others\u{3000}too\u{200b}",
    "I'll, you're, he'd, we've, it's, I'm, can't; I'LL, YOU'RE, HE'D, IT'S, CAN'T, l'été",
    "0 00 000 0000 00000 1234567, 3.14159, no. 12345/67, €1,234.56, १२३ ٣٤٥ ½ ² Ⅷ",
    "हिन्दी में एक वाक्य है, और বাংলা, தமிழ், ไทย ก็ได้",
    "العَرَبِيَّة עִבְרִית русский ё и\u{306} Tiê\u{301}ng Viê\u{323}t e\u{301}a\u{308}",
    "漢字と仮名、한국어ㅎㅎ。",
    "naïve café ﬁne ＡＢＣ Straße ǅ ʰ ªº",
    "emoji 👩\u{200d}👩\u{200d}👧 🇫🇷 ☺\u{fe0f}!",
    "camelCase HTTPServer iPhone XMLHttpRequest2 snake_case A.B.C. e.g. U.S.",
    "(\"quotes\") 'single' “curly” ‘it’s’ … — !!!??? /path/to//file\n/// #$%&*+<=>@[\\]^_`{|}~\n",
    "x y\u{85}z\u{2028}w a\u{0}b\u{7f}c",
    "            indented\n                code();",
];

/// Tokens whose texts are joined to one.
const JOINED: usize = 32;

impl Tokenizer {
    /// Refuses what llama.cpp would give other ids for.
    ///
    /// # Errors
    /// Says which part of the tokenizer it is.
    pub(crate) fn check_gguf(&self) -> Result<(), StageError> {
        self.vocabulary().and_then(|vocabulary| self.compare(&vocabulary)).map_err(|problem| {
            StageError::config(format!(
                "gguf: this tokenizer cannot be put into a GGUF file: {problem}"
            ))
            .with_help(
                "leave `gguf` out: texts would become other tokens in llama.cpp than in training",
            )
        })
    }

    /// Adds the `tokenizer.*` entries of a tokenizer that [`Tokenizer::check_gguf`] has passed.
    pub(crate) fn write_gguf(&self, writer: &mut GgufWriter) {
        if let Ok(vocabulary) = self.vocabulary() {
            vocabulary.write(writer);
        }
    }

    /// The entries, if llama.cpp has words for all that decides about ids.
    fn vocabulary(&self) -> Result<Vocabulary, String> {
        let model = &self.json["model"];
        if model["type"] != "BPE" {
            return Err(format!("its model is {}, not byte-level BPE", model["type"]));
        }
        for (setting, off) in [
            ("byte_fallback", json!(false)),
            ("dropout", Value::Null),
            ("continuing_subword_prefix", json!("")),
            ("end_of_word_suffix", json!("")),
        ] {
            let value = &model[setting];
            if !value.is_null() && *value != off {
                return Err(format!(
                    "its model has {setting}: {value}, which llama.cpp leaves out"
                ));
            }
        }
        let normalizer = &self.json["normalizer"];
        let empty = normalizer["normalizers"].as_array().is_some_and(Vec::is_empty);
        if !normalizer.is_null() && !empty {
            return Err(format!(
                "it has a normalizer ({}), which llama.cpp does not apply",
                kinds(normalizer)
            ));
        }
        let ignore_merges = model["ignore_merges"] == true;
        let pre = PreTokenizer::of(&self.json["pre_tokenizer"], ignore_merges)?;
        let (default, named) = self.chat_templates();
        Ok(Vocabulary {
            model: "gpt2".to_string(),
            pre: pre.name().to_string(),
            tokens: self.texts(),
            token_types: self.token_types()?,
            merges: merges(&model["merges"]),
            bos: self.id(&self.bos).and_then(|id| u32::try_from(id).ok()),
            eos: self.id(&self.eos).and_then(|id| u32::try_from(id).ok()),
            add_bos: self.adds_bos(),
            chat_template: default,
            chat_templates: named,
            ..Vocabulary::default()
        })
    }

    fn texts(&self) -> Vec<String> {
        let tokens = self.tokens.iter().enumerate();
        tokens.map(|(id, text)| text.clone().unwrap_or_else(|| format!("[PAD{id}]"))).collect()
    }

    fn token_types(&self) -> Result<Vec<TokenType>, String> {
        let kind = |token: &Option<String>| match token {
            Some(_) => TokenType::Normal,
            None => TokenType::Unused,
        };
        let mut kinds: Vec<TokenType> = self.tokens.iter().map(kind).collect();
        for added in self.json["added_tokens"].as_array().map_or(&[][..], Vec::as_slice) {
            let set =
                ["lstrip", "rstrip", "single_word"].into_iter().find(|key| added[*key] == true);
            if let Some(setting) = set {
                return Err(format!(
                    "its token {} has {setting}, which llama.cpp has no word for",
                    added["content"]
                ));
            }
            let id = super::index(&added["id"]);
            if let Some(kind) = id.and_then(|id| kinds.get_mut(id)) {
                let special = added["special"] == true;
                *kind = if special { TokenType::Control } else { TokenType::UserDefined };
            }
        }
        Ok(kinds)
    }

    /// The chat template, and further ones by name.
    fn chat_templates(&self) -> (Option<String>, BTreeMap<String, String>) {
        let template = &self.settings["chat_template"];
        let named = template.as_array().into_iter().flatten();
        let mut named: BTreeMap<String, String> = named
            .filter_map(|entry| {
                Some((entry["name"].as_str()?.to_string(), entry["template"].as_str()?.to_string()))
            })
            .collect();
        let default = named.remove("default");
        (template.as_str().map(str::to_string).or(default), named)
    }

    /// Compares ids: those of this tokenizer, and those that the file's entries mean to llama.cpp, on
    /// hard texts, on the text of every token, and on many of them in a row.
    fn compare(&self, vocabulary: &Vocabulary) -> Result<(), String> {
        let read = |json: &Value| {
            tokenizers::Tokenizer::from_bytes(json.to_string().as_bytes())
                .map_err(|error| format!("it cannot be read: {error}"))
        };
        let (ours, theirs) = (read(&self.json)?, read(&vocabulary.tokenizer_json()?)?);
        let same = |text: &str| -> Result<bool, String> {
            let ids = |tokenizer: &tokenizers::Tokenizer| {
                let encoding = tokenizer.encode_fast(text, false).map_err(|e| e.to_string())?;
                Ok::<_, String>(encoding.get_ids().to_vec())
            };
            Ok(ids(&ours)? == ids(&theirs)?)
        };
        for text in HARD_TEXTS {
            if !same(text)? {
                return Err(format!("llama.cpp would give other ids for {text:?}"));
            }
        }
        let ids: Vec<u32> = (0..vocabulary.tokens.len() as u32).collect();
        let decode = |ids: &[u32]| ours.decode(ids, false).map_err(|error| error.to_string());
        for id in &ids {
            if !same(&decode(&[*id])?)? {
                return Err(format!("llama.cpp would give other ids for the text of token {id}"));
            }
        }
        for row in ids.chunks(JOINED) {
            if !same(&decode(row)?)? {
                return Err(format!(
                    "llama.cpp would give other ids for the texts of the tokens from {} in a row",
                    row[0]
                ));
            }
        }
        Ok(())
    }
}

/// The kinds of a normalizer, or of those in a row.
fn kinds(normalizer: &Value) -> String {
    let parts = normalizer["normalizers"].as_array();
    let kinds = parts.map_or_else(|| vec![normalizer], |parts| parts.iter().collect());
    let kinds: Vec<&str> = kinds.iter().map(|part| part["type"].as_str().unwrap_or("?")).collect();
    kinds.join(", ")
}

/// Merges, which newer files write as pairs.
fn merges(merges: &Value) -> Vec<String> {
    let merges = merges.as_array().map_or(&[][..], Vec::as_slice);
    let merge = |merge: &Value| match merge {
        Value::Array(pair) => pair.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        text => text.as_str().unwrap_or_default().to_string(),
    };
    merges.iter().map(merge).collect()
}
