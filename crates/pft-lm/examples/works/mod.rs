//! The works that the step benchmarks share, and how they are timed.

use std::time::Instant;

use pft_lm::batch::Batch;
use pft_lm::config::ModelConfig;
use pft_lm::layers::lora::LoraConfig;
use pft_lm::model::{LanguageModel, init};

/// What is trained.
pub(crate) struct Work {
    /// Its name.
    pub(crate) name: &'static str,
    /// Hugging Face's `config.json`.
    pub(crate) config: &'static str,
    /// Sequences of a step.
    pub(crate) batch: usize,
    /// LoRA of rank 8 on q and v; the whole model without it.
    pub(crate) lora: bool,
}

/// A small GPT-2, the shape of GPT-2 small, and that of SmolLM2-135M.
pub(crate) const WORKS: [Work; 3] = [
    Work {
        name: "w1",
        config: r#"{"model_type":"gpt2","vocab_size":8192,"n_embd":256,"n_layer":6,"n_head":4,
            "n_positions":256,"tie_word_embeddings":false}"#,
        batch: 8,
        lora: false,
    },
    Work {
        name: "w2",
        config: r#"{"model_type":"gpt2","vocab_size":50257,"n_embd":768,"n_layer":12,"n_head":12,
            "n_positions":1024,"tie_word_embeddings":false}"#,
        batch: 4,
        lora: false,
    },
    Work {
        name: "w3",
        config: r#"{"model_type":"llama","vocab_size":49152,"hidden_size":576,
            "num_hidden_layers":30,"num_attention_heads":9,"num_key_value_heads":3,
            "intermediate_size":1536,"max_position_embeddings":2048,"tie_word_embeddings":true}"#,
        batch: 4,
        lora: true,
    },
];

/// Tokens of a pass on the CPU, as in `train` by default.
#[allow(dead_code, reason = "the bench of devices has batches as large as the step")]
pub(crate) const MICRO_BATCH_TOKENS: usize = 1024;

/// Tokens of a sequence.
pub(crate) const LENGTH: usize = 256;

impl Work {
    /// A model with random weights.
    pub(crate) fn model(&self) -> LanguageModel {
        let config = ModelConfig::from_json(self.config).expect("the config is well formed");
        let parameters = init::random(&config, 1).expect("the config names each parameter once");
        let lora = self.lora.then(|| LoraConfig { alpha: 16.0, ..LoraConfig::default() });
        LanguageModel::new(config, parameters, lora, 1).expect("they fit")
    }

    /// The micro-batches of every step, of at most so many tokens but of one sequence at least.
    pub(crate) fn micro_batches(&self, vocabulary: usize, tokens: usize) -> Vec<Batch> {
        let token = |i: usize| (i * 7919 % vocabulary) as u32;
        let sequence = |s: usize| (0..LENGTH).map(|i| token(s * LENGTH + i)).collect();
        let sequences: Vec<Vec<u32>> = (0..self.batch).map(sequence).collect();
        let batch = |part: &[Vec<u32>]| Batch::new(part).expect("no sequence is empty");
        sequences.chunks((tokens / LENGTH).max(1)).map(batch).collect()
    }
}

/// The command line of a step benchmark: `[w1|w2|w3]... [--steps N] [--micro-batch-tokens N]
/// [--json]`.
pub(crate) struct Arguments {
    /// What to time.
    pub(crate) works: Vec<&'static Work>,
    /// Timed steps, after an untimed one.
    pub(crate) steps: usize,
    /// Tokens of a pass.
    pub(crate) micro_batch_tokens: Option<usize>,
    /// Whether to end with one JSON object a work.
    pub(crate) json: bool,
}

impl Arguments {
    /// From the process's arguments.
    pub(crate) fn read() -> Self {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let number = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)?.parse().ok()
        };
        let named = |work: &&Work| arguments.iter().any(|argument| argument == work.name);
        let all = !WORKS.iter().any(|work| named(&work));
        Self {
            works: WORKS.iter().filter(|work| all || named(work)).collect(),
            steps: number("--steps").unwrap_or(5),
            micro_batch_tokens: number("--micro-batch-tokens"),
            json: arguments.iter().any(|argument| argument == "--json"),
        }
    }
}

/// Milliseconds of `run`.
pub(crate) fn time(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e3
}

/// Processor milliseconds of this process so far, where the system tells.
pub(crate) fn processor_ms() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, counted after the parenthesised name, in hundredths of a second.
    let ticks = |field: usize| -> Option<f64> {
        stat.rsplit(')').next()?.split_whitespace().nth(field - 3)?.parse().ok()
    };
    (ticks(14).unwrap_or(f64::NAN) + ticks(15).unwrap_or(f64::NAN)) * 10.0
}

/// What the steps of one work took, in milliseconds, in order.
pub(crate) struct Timing {
    /// Each step's time.
    pub(crate) steps: Vec<f64>,
    /// Processor time of a step.
    pub(crate) processor: f64,
}

impl Timing {
    /// Times `runs` runs after an untimed one.
    pub(crate) fn of(runs: usize, mut run: impl FnMut()) -> Self {
        run();
        let processor = processor_ms();
        let steps: Vec<f64> = (0..runs).map(|_| time(&mut run)).collect();
        Self { processor: (processor_ms() - processor) / steps.len() as f64, steps }
    }

    /// The fastest.
    pub(crate) fn fastest(&self) -> f64 {
        self.steps.iter().copied().fold(f64::INFINITY, f64::min)
    }

    /// The one in the middle.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.steps.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }
}

/// Peak resident memory in MB, where the system tells.
pub(crate) fn peak_mb() -> f64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok()
        })
        .map_or(f64::NAN, |kilobytes| kilobytes / 1024.0)
}
