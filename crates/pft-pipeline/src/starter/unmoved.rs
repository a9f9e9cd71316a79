//! Keys of LLM-PFT and pii-leakage that have no counterpart, and why.

/// Why a key has none.
pub(crate) fn reason(name: &str) -> String {
    let (section, key) = name.split_once('.').unwrap_or((name, ""));
    let why = match (section, key) {
        ("env_args", "device") => {
            "so already: training is on the CPU; set model.device to cuda where it is built for it"
        }
        ("env_args", _) => "no counterpart: LLM-PFT does not read it in training",
        ("dataset_args", "split") => "so already: the split train is trained on",
        ("dataset_args", "chat_template") => {
            "no counterpart: LLM-PFT passes it on and never uses it"
        }
        ("model_args", "tokenizer_use_fast") => "so already: there is one tokenizer",
        ("model_args", "device_map") => {
            "no counterpart: a model is on one device; set model.device"
        }
        ("outdir_args", _) => {
            "no counterpart: artifacts lie in the store, and `latest` links to them"
        }
        ("trainer_args", "bf16" | "fp16" | "bf16_full_eval" | "fp16_full_eval") => {
            "no counterpart: weights that train, clipping and noise are in f32; set model.base_precision or \
             model.dtype for half the memory"
        }
        ("trainer_args", "deepspeed") => "no counterpart: a model trains in one process",
        ("trainer_args", "evaluation_strategy" | "eval_strategy" | "do_eval") => {
            "so already: models are judged before and after training, and every evaluation.every_steps"
        }
        ("trainer_args", "save_strategy" | "save_steps") => {
            "so already: a killed run goes on from its last checkpoint (model.checkpoints.every_steps)"
        }
        ("trainer_args", "resume_from_checkpoint" | "resume_from_last_checkpoint") => {
            "so already: a run goes on where it stopped, with its accounting"
        }
        ("trainer_args", "do_train") => "so already: the stage model trains",
        ("trainer_args", "overwrite_output_dir") => "so already: nothing is overwritten",
        ("trainer_args", "report_to" | "logging_steps" | "logging_dir" | "run_name") => {
            "no counterpart: every step is in metrics.parquet, and `pft-pipeline report` draws it; nothing \
             goes to a service"
        }
        ("trainer_args", "per_device_eval_batch_size") => {
            "no counterpart: model.micro_batch_tokens bounds what is computed at once"
        }
        ("trainer_args", "remove_unused_columns" | "save_safetensors") => {
            "so already: weights are written as safetensors"
        }
        ("trainer_args", "train_split" | "eval_split" | "callback_after_n_steps") => {
            "no counterpart: LLM-PFT never reads it"
        }
        ("trainer_args", "optim") => "no counterpart: the optimizer is AdamW; see model.optimizer",
        ("trainer_args", _) => {
            "no counterpart: a key of transformers' Trainer, which is not used here"
        }
        ("privacy_args", "eps_error" | "no_accountant") => "no counterpart: LLM-PFT never reads it",
        ("privacy_args", _) => "no counterpart: LLM-PFT does not use it",
        ("sampling_args", _) => {
            "no counterpart: see model.samples for texts to generate at the end"
        }
        ("ner_args", "ner" | "ner_model") => {
            "no counterpart: LLM-PFT builds its own recognizer; set tags.backends (`pft-pipeline describe tag-pii`)"
        }
        ("ner_args", "anonymize") => "no counterpart: dataset_mode decides, there as here",
        ("ner_args", _) => "so already: tags are cached by the text and the recognizer",
        ("attack_args", _) => {
            "no counterpart: attacks are not part of training; memorisation is measured after it"
        }
        ("eval_args", _) => "no counterpart: see model.evaluation",
        _ => "no counterpart: LLM-PFT does not know it",
    };
    why.to_string()
}
