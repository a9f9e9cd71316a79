"""The model and batch that every PyTorch peer trains."""

import os

import torch
from transformers import AutoConfig, AutoModelForCausalLM

from .shapes import LENGTH, WORKS, sequences

LEARNING_RATE = 1e-4
# `cuda` computes in bf16.
DEVICE = os.environ.get("PFT_BENCH_DEVICE", "cpu")


def model_and_batch(name: str):
    """A model with random weights, with adapters where the work says so, and its batch."""
    work = WORKS[name]
    torch.manual_seed(1)
    fields = {key: value for key, value in work.config.items() if key != "model_type"}
    config = AutoConfig.for_model(work.config["model_type"], **fields, use_cache=False)
    model = AutoModelForCausalLM.from_config(config)
    if work.lora:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(
            r=8, lora_alpha=16, lora_dropout=0.0, target_modules=["q_proj", "v_proj"],
            task_type="CAUSAL_LM",
        ))
    model.train()
    if DEVICE != "cpu":
        model.to(DEVICE, torch.bfloat16)
    ids = torch.tensor(sequences(work), device=DEVICE)
    # Spelled out, because Opacus and fastDP fail on positions that the model broadcasts itself.
    positions = torch.arange(LENGTH, device=DEVICE).expand(work.batch, LENGTH).contiguous()
    return model, {"input_ids": ids, "position_ids": positions}


def trained(model) -> list:
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def adamw(model) -> torch.optim.AdamW:
    return torch.optim.AdamW(trained(model), lr=LEARNING_RATE)


def wait() -> None:
    """Waits for the GPU, so that a step's time is its own."""
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def packages(name: str) -> list[str]:
    return ["torch", "transformers", *(["peft"] if WORKS[name].lora else [])]
