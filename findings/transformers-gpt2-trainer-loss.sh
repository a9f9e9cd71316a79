#!/usr/bin/env bash
# transformers 5.24.0: GPT-2's loss in Trainer is too small by (n−1)/n, LLaMA's is right.
#
# Expected: `trainer.evaluate()` gives the mean of what the model itself says about the batch, for every
#   architecture.
# Seen:     Trainer passes the number of labels, first tokens included, and GPT2LMHeadModel divides its sum
#   over n−1 predictions by it: for rows of eight tokens eval_loss and the training loss (so the gradient too)
#   are 7/8 of the model's own loss. For LLaMA they are equal.
# Matters:  perplexities of GPT-2 by Trainer look better than by any other evaluation: short texts gain most.
# Ran with: transformers 5.24.0, torch 2.9.1 (its default build, on the CPU), Python 3.11. Takes minutes, 7 GB
#   of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0 accelerate==1.15.0

venv/bin/python - <<'PYTHON'
import logging
import torch
import transformers
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

transformers.logging.set_verbosity_error()
torch.manual_seed(0)
ids = torch.arange(1, 9)
rows = [{"input_ids": ids, "labels": ids}] * 4
gpt2 = GPT2LMHeadModel(GPT2Config(n_layer=1, n_embd=32, n_head=2, vocab_size=100, n_positions=32))
llama = LlamaForCausalLM(LlamaConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1,
                                     num_attention_heads=2, vocab_size=100))
ratios = []
for model in (gpt2.eval(), llama.eval()):
    own = model(input_ids=ids[None], labels=ids[None]).loss.item()
    settings = TrainingArguments("out", report_to=[], use_cpu=True, per_device_eval_batch_size=4, disable_tqdm=True)
    trainer = Trainer(model, settings, eval_dataset=rows)
    trainer.pop_callback(transformers.PrinterCallback)
    ratios.append(trainer.evaluate()["eval_loss"] / own)
    print("transformers", transformers.__version__, type(model).__name__, f"eval_loss / own loss = {ratios[-1]:.4f}")
assert abs(ratios[0] - 7 / 8) < 1e-4, "GPT-2 is right now"
assert abs(ratios[1] - 1) < 1e-4
PYTHON
