//! Texts that the trained model writes, for a person to look at.

use pft_lm::model::{LanguageModel, Sampling};
use pft_stage::{Context, StageError};
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use crate::config::Config;

/// Prompts as token ids, read before training: a wrong one costs nothing then.
pub(crate) struct Prompts {
    /// None where there is nothing to generate.
    tokenizer: Option<Tokenizer>,
    input_ids: Vec<Vec<u32>>,
}

impl Prompts {
    /// Encodes the prompts of config with the tokenizer that came with the tokens.
    ///
    /// # Errors
    /// When there is no tokenizer, or it makes no token of a prompt.
    pub(crate) fn read(config: &Config, context: &Context) -> Result<Self, StageError> {
        let prompts = &config.samples.prompts;
        if prompts.is_empty() {
            return Ok(Self { tokenizer: None, input_ids: Vec::new() });
        }
        let path = context.input("tokens")?.join("tokenizer.json");
        let tokenizer = Tokenizer::from_file(&path).map_err(|error| {
            StageError::input(format!("{}: not a tokenizer: {error}", path.display()))
                .with_help("take tokens that `tokenize` made, or set no samples.prompts")
        })?;
        let mut input_ids = Vec::new();
        for (index, prompt) in prompts.iter().enumerate() {
            let wrong = |problem: &dyn std::fmt::Display| {
                StageError::config(format!("samples.prompts[{index}]: {problem}"))
            };
            let encoding =
                tokenizer.encode(prompt.as_str(), false).map_err(|error| wrong(&error))?;
            if encoding.is_empty() {
                return Err(wrong(&"is empty; give at least one token to continue"));
            }
            input_ids.push(encoding.get_ids().to_vec());
        }
        Ok(Self { tokenizer: Some(tokenizer), input_ids })
    }

    /// What the model makes of each prompt.
    ///
    /// # Errors
    /// When a prompt does not fit into the model's context.
    pub(crate) fn continuations(
        &self,
        config: &Config,
        model: &mut LanguageModel,
    ) -> Result<Vec<Value>, StageError> {
        let Some(tokenizer) = &self.tokenizer else { return Ok(Vec::new()) };
        let settings = &config.samples;
        let sampling = Sampling {
            temperature: settings.temperature,
            top_k: settings.top_k.map(|k| k as usize),
            top_p: settings.top_p,
            max_new_tokens: settings.max_new_tokens as usize,
            stop_tokens: model.config().eos_token_ids.clone(),
        };
        let mut samples = Vec::new();
        for (index, (prompt, input_ids)) in settings.prompts.iter().zip(&self.input_ids).enumerate()
        {
            let wrong = |error: &dyn std::fmt::Display| {
                StageError::config(format!("samples.prompts[{index}]: {error}"))
            };
            let new = model
                .generate(input_ids, &sampling, config.seed + index as u64)
                .map_err(|error| wrong(&error))?;
            let text = tokenizer.decode(&new, true).map_err(|error| wrong(&error))?;
            samples.push(json!({ "prompt": prompt, "continuation": text }));
        }
        Ok(samples)
    }
}
