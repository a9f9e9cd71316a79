"""Compares adapters that pft made and wrote with peft's on the same base model.

    python tests/reference/adapters.py FOLDER...

FOLDER holds `base` (a model's folder), `adapter` and `expected.safetensors`: logits of each sequence,
and gradients of the loss that sums the sequences' own means. Fails where peft puts adapters on other
layers for the same settings, where a logit is off by more than 1e-5 of the largest, or a gradient by
more than 1e-5 of its tensor's largest.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from transformers import AutoModelForCausalLM


def base_of(folder):
    return AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=torch.float32, attn_implementation="eager"
    )


def saved_name(name):
    return name.replace(".default.", ".")


def adapters_of(model):
    return {saved_name(name) for name, _ in model.named_parameters() if ".lora_" in name}


def check(folder):
    where = f"{folder.name}, {transformers.__version__}"
    with safe_open(folder / "expected.safetensors", "pt") as file:
        metadata = {key: json.loads(text) for key, text in file.metadata().items()}
        expected = {name: file.get_tensor(name) for name in file.keys()}
    with safe_open(folder / "adapter" / "adapter_model.safetensors", "pt") as file:
        written = set(file.keys())
    chosen = adapters_of(get_peft_model(base_of(folder), LoraConfig(**metadata["settings"])))
    assert chosen == written, f"{where}: {sorted(chosen ^ written)}"

    model = PeftModel.from_pretrained(base_of(folder), folder / "adapter", is_trainable=True)
    assert adapters_of(model) == written, f"{where}: {sorted(adapters_of(model) ^ written)}"
    total = 0.0
    for index, ids in enumerate(metadata["sequences"]):
        logits = model(input_ids=torch.tensor([ids])).logits[0]
        total = total + torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))
        compare(f"{where}, logits {index}", expected.pop(f"logits/{index}"), logits)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not (metadata["freeze_a"] and ".lora_A." in name):
            compare(f"{where}, {name}", expected.pop(f"grad/{saved_name(name)}"), parameter.grad)
    assert not expected, f"{where}: {sorted(expected)}"


def compare(where, found, expected):
    off = ((found - expected).abs().max() / expected.abs().max()).item()
    assert off <= 1e-5, f"{where}: {off}"


if __name__ == "__main__":
    assert sys.argv[1:], __doc__
    for argument in sys.argv[1:]:
        check(Path(argument))
