//! What becomes of each key of a config of LLM-PFT or pii-leakage.

use serde_json::Value;

use super::old::{Old, schedule};
use super::unmoved;

/// What becomes of a key.
pub(super) fn fate(name: &str, value: &Value, old: &Old<'_>, has_corpus: bool) -> String {
    let used = |by: &str| format!("used as {by}");
    let no = |why: &str| format!("no counterpart: {why}");
    let already = |why: &str| format!("so already: {why}");
    let unless_private = |by: &str| match old.is_private() {
        true => used(by),
        false => already("without an ε or noise there is no privacy"),
    };
    match name {
        _ if value.is_null() => already("it is not set"),
        "dataset_args.dataset_path" if has_corpus => no("your corpus takes its place"),
        "dataset_args.dataset_path" => used("corpus.source and corpus.path"),
        "dataset_args.dataset_mode" => match value.as_str() {
            Some("scrubbed") => used("the stage clean, and held_out for unscrubbed held-out text"),
            Some("undefended") => used("no stage that scrubs"),
            _ => no("only undefended and scrubbed are modes of a corpus here"),
        },
        "dataset_args.limit_dataset_size" => match value.as_f64().is_some_and(|n| n < 1e6) {
            true => used(
                "corpus.limit; the privacy statement says that units then decide about each other",
            ),
            false => already("there is no limit"),
        },
        "dataset_args.sample_duplication_rate" => match value.as_f64().is_some_and(|n| n > 1.0) {
            true => used("corpus.sample_duplication_rate; copies stay in the unit of the first"),
            false => already("each text is taken once"),
        },
        "dataset_args.pseudonymize" => no(
            "texts are tagged always: perplexities in personal data need it, and tags are cached",
        ),
        "model_args.model_ckpt" => match value.as_str().is_some_and(|path| path.contains("://")) {
            true => {
                no("nothing is fetched: put the files in a folder and set base_model and tokenizer")
            }
            false => used("model.base_model and tokens.tokenizer"),
        },
        "model_args.architecture" => {
            used("model.base_model where no other is named; the files of a model say what it is")
        }
        "model_args.pre_trained" => match value == &Value::Bool(true) {
            true => already("training starts from base_model"),
            false => no("set model.random_init to a config.json in place of base_model"),
        },
        "model_args.tokenizer_max_length" => used("tokens.max_length"),
        "model_args.peft" => used("model.lora"),
        "model_args.lora_r" => used("model.lora.rank"),
        "model_args.lora_alpha" => used("model.lora.alpha"),
        "model_args.lora_dropout" if old.is_private() => {
            no("with privacy it is 0: a mask would depend on other units")
        }
        "model_args.lora_dropout" => used("model.lora.dropout"),
        _ if name.starts_with("trainer_args.") => of_training(name, old),
        "privacy_args.target_epsilon"
            if old.number("privacy_args", "noise_multiplier").is_some() =>
        {
            no("noise_multiplier is set, and decides there as here")
        }
        "privacy_args.target_epsilon" => unless_private("model.privacy.target_epsilon"),
        "privacy_args.noise_multiplier" => used("model.privacy.noise_multiplier"),
        "privacy_args.target_delta" => unless_private("model.privacy.target_delta"),
        "privacy_args.max_grad_norm_dp" => unless_private("model.privacy.max_grad_norm"),
        "ner_args.anon_token" => used("clean.mask_token, where texts are scrubbed"),
        _ => unmoved::reason(name),
    }
}

/// What becomes of a key of the trainer.
fn of_training(name: &str, old: &Old<'_>) -> String {
    let used = |by: &str| format!("used as {by}");
    match name {
        "trainer_args.per_device_train_batch_size" | "trainer_args.gradient_accumulation_steps" => {
            used("model.batch_size, their product; multiply by your number of GPUs")
        }
        "trainer_args.learning_rate" => used("model.learning_rate"),
        "trainer_args.num_train_epochs" => used("model.epochs, where max_steps is not set"),
        "trainer_args.max_steps" => used("model.max_steps, where it is above 0"),
        "trainer_args.seed" => used("model.seed, and not for the randomness of privacy"),
        "trainer_args.warmup_steps" => used("model.warmup_steps"),
        "trainer_args.weight_decay" => used("model.optimizer.weight_decay"),
        "trainer_args.max_grad_norm" => used("model.max_grad_norm"),
        "trainer_args.eval_steps" => used("model.evaluation.every_steps"),
        "trainer_args.limit_eval_dataset" => used("model.evaluation.max_examples"),
        "trainer_args.save_total_limit" => used("model.checkpoints.save_total_limit"),
        "trainer_args.dry_run" => used("model.dry_run"),
        "trainer_args.lr_scheduler_type" if schedule(old).is_some() => used("model.schedule"),
        _ => unmoved::reason(name),
    }
}
