//! Decoder language models (GPT-2, LLaMA, Qwen, Gemma, Pythia and others: see
//! [`config::Architecture`]) that train and generate at the speed of their
//! matrix products. It may depend on `pft-matmul`, tensors, tokenizers and file formats; it knows
//! nothing of stages, artifacts or privacy beyond handing out what per-unit gradients are made of.
//!
//! The way through the crate:
//! - [`config::ModelConfig`] reads and writes Hugging Face's `config.json`;
//!   [`parameters::parameter_specs`] lists the names and shapes that follow from it, and
//!   [`parameters::Parameters`] holds the tensors (LoRA's beside the base model's, under the
//!   names of PEFT: `base_model.model.….lora_A.weight`).
//! - [`checkpoint`] reads and writes them: Hugging Face folders, GGUF files, PEFT adapters.
//! - [`model::LanguageModel`] runs them: `forward_backward` over a [`batch::Batch`] gives losses
//!   and hands gradients to a [`gradient::GradientSink`]; `evaluate` gives each token's negative
//!   log-likelihood; `generate` samples with a key-value cache.
//! - [`device::DeviceModel`] is the same training over candle's tensors, on a GPU.
//! - [`optimizer`] and [`schedule`] turn the sums of a [`gradient::GradientSum`] into steps.
//!
//! Every layer is one file with its forward and its backward beside each other, over `f32`
//! buffers that are reused from step to step. Results do not depend on the number of threads.

pub mod batch;
pub mod blocks;
pub mod buffer;
pub mod checkpoint;
pub mod config;
pub mod device;
pub mod gradient;
pub mod kernels;
pub mod layers;
pub mod model;
mod names;
pub mod optimizer;
mod parameter_error;
pub mod parameters;
pub mod schedule;
mod spec;
