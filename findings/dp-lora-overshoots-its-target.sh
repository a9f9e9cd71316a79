#!/usr/bin/env bash
# dp-lora 0.1.0: make_private_with_epsilon(target_epsilon=2) has spent 2.64 when its epochs are over.
#
# Expected: after the number of epochs that the noise was calibrated for, ε is at most the target.
# Seen:     noise is calibrated for rate batch_size / N and int(N / batch_size) steps an epoch, but the loader
#   that it returns samples at 1/ceil(N / batch_size), and has that many steps: for 30 texts and batch_size 16
#   three epochs are six steps at 0.5, where three at 0.53 were calibrated. Where batch_size divides N the
#   target is met.
# Matters:  the engine's own `get_epsilon()` shows it, in the end. Calibrate for the sampler that will run.
# Ran with: dp-lora 0.1.0, opacus 1.6.0, peft 0.21.2, transformers 5.24.0, torch 2.9.1 (its default build, on
#   the CPU), Python 3.11. Takes minutes, 7 GB of packages.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check torch==2.9.1 transformers==5.24.0 peft==0.21.2 opacus==1.6.0 dp-lora==0.1.0 dp-accounting==0.6.0

venv/bin/python - <<'PYTHON'
import logging
import warnings
from importlib.metadata import version
import torch
from dp_lora.privacy_engine import DPLoRAEngine
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import LlamaConfig, LlamaForCausalLM

warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def spent(texts, batch_size):
    torch.manual_seed(0)
    model = get_peft_model(LlamaForCausalLM(LlamaConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, vocab_size=50)),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"]))
    data = [torch.randint(1, 50, (6,)) for _ in range(texts)]
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    engine = DPLoRAEngine()
    model, optimizer, loader = engine.make_private_with_epsilon(
        model=model, optimizer=optimizer, data_loader=DataLoader(data, batch_size=batch_size),
        target_epsilon=2.0, target_delta=1e-5, epochs=3, max_grad_norm=1.0)
    for _ in range(3):
        for batch in loader:
            optimizer.zero_grad()
            if len(batch) == 0:
                optimizer.step()
                continue
            model(input_ids=batch, labels=batch).loss.backward()
            optimizer.step(engine.grad_sample_module.get_per_sample_grads())
            engine.grad_sample_module.clear_per_sample_grads()
    print("dp-lora", version("dp-lora"), f"{texts} texts, batch_size {batch_size}: {engine.accountant.steps} steps, epsilon {engine.get_epsilon():.4f} for a target of 2")
    return engine.get_epsilon()


uneven, even = spent(30, 16), spent(100, 50)
assert uneven > 2.5, "the target is met now"
assert even < 2.001
PYTHON
