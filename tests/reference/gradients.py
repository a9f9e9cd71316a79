"""Makes tests/fixtures/lm/*.safetensors: tiny random models with what PyTorch computes on them.

Each file holds the parameters under their names, the logits of each sequence, the gradient of
every trained parameter for the loss that sums the sequences' own means (`grad/NAME`), and the
losses of 50 AdamW steps from there. The model's config.json, the sequences and the settings are in
the metadata. Run: python tests/reference/gradients.py (pinned versions in requirements.txt).
"""

import json
import math
import pathlib

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM
from transformers import MistralConfig, MistralForCausalLM

OUT = pathlib.Path(__file__).parent.parent / "fixtures" / "lm"
VOCABULARY = 61
STEPS = 50
SETTINGS = {
    "steps": STEPS,
    "warmup_steps": 5,
    "learning_rate": 3e-3,
    "weight_decay": 0.1,
    "max_grad_norm": 0.5,
}


def gpt2(**changes):
    settings = dict(
        vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=80,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )
    return GPT2LMHeadModel(GPT2Config(**{**settings, **changes}))


LLAMA = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    bos_token_id=0, eos_token_id=1,
)


def llama(**changes):
    return LlamaForCausalLM(LlamaConfig(**{**LLAMA, **changes}))


def lora(model, targets):
    config = LoraConfig(r=4, lora_alpha=12, lora_dropout=0.0, target_modules=targets)
    return get_peft_model(model, config)


MODELS = {
    "gpt2-tied": lambda: gpt2(),
    "gpt2-untied": lambda: gpt2(tie_word_embeddings=False, activation_function="gelu"),
    "llama-tied": lambda: llama(
        tie_word_embeddings=True,
        rope_theta=500000.0,
        rope_scaling=dict(
            rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
            original_max_position_embeddings=32,
        ),
    ),
    "llama-untied": lambda: llama(attention_bias=True, mlp_bias=True),
    "llama-linear-rope": lambda: llama(rope_scaling=dict(rope_type="linear", factor=2.0)),
    "mistral": lambda: MistralForCausalLM(
        MistralConfig(**{**LLAMA, "head_dim": 16, "num_key_value_heads": 1}, sliding_window=None)
    ),
    "llama-lora": lambda: lora(
        llama(tie_word_embeddings=True), ["q_proj", "v_proj", "o_proj", "down_proj"]
    ),
    "gpt2-lora": lambda: lora(gpt2(), ["c_attn", "c_proj"]),
}


def spread(model):
    """Random values everywhere, so that no gradient is zero for a trivial reason."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "ln_" in name:
                noise = 0.2 * torch.randn_like(parameter)
                parameter.copy_(noise if name.endswith("bias") else 1.0 + noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.15 * torch.randn_like(parameter))


def saved_name(name):
    """The name in PEFT's files, or in the base model's for what is not an adapter."""
    if "lora_" in name:
        return name.replace(".default.", ".")
    return name.removeprefix("base_model.model.").replace(".base_layer.", ".")


def sequence_loss(model, ids):
    logits = model(input_ids=torch.tensor([ids])).logits[0]
    return logits, torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:]))


def train(model, batches):
    named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = lambda n: n.endswith("bias") or "norm" in n or "ln_" in n
    groups = [
        {"params": [p for n, p in named if not plain(n)], "weight_decay": SETTINGS["weight_decay"]},
        {"params": [p for n, p in named if plain(n)], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=SETTINGS["learning_rate"])
    warmup = SETTINGS["warmup_steps"]

    def factor(step):
        if step < warmup:
            return step / warmup
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (STEPS - warmup)))

    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    losses = []
    for batch in batches:
        optimizer.zero_grad()
        loss = sum(sequence_loss(model, ids)[1] for ids in batch) / len(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for _, p in named], SETTINGS["max_grad_norm"])
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for seed, (name, make) in enumerate(MODELS.items()):
        torch.manual_seed(seed)
        model = make()
        model.train()
        spread(model)
        draw = lambda length: torch.randint(0, VOCABULARY, (length,)).tolist()
        # 70 tokens reach past one block of queries, and past the original context of llama3.
        sequences = [draw(19), draw(70), draw(2)]
        batches = [[draw(12), draw(7)] for _ in range(4)]
        batches = [batches[step % len(batches)] for step in range(STEPS)]
        tensors = {saved_name(n): p.detach().clone() for n, p in model.named_parameters()}
        total = 0.0
        for index, ids in enumerate(sequences):
            logits, loss = sequence_loss(model, ids)
            tensors[f"logits/{index}"] = logits.detach().clone()
            total = total + loss
        total.backward()
        for n, p in model.named_parameters():
            if p.requires_grad:
                tensors[f"grad/{saved_name(n)}"] = p.grad.detach().clone()
        model.zero_grad()
        losses = train(model, batches)
        base = model.get_base_model() if "lora" in name else model
        metadata = {
            "config": base.config.to_json_string(use_diff=False),
            "sequences": json.dumps(sequences),
            "batches": json.dumps(batches[:4]),
            "losses": json.dumps(losses),
            "settings": json.dumps(SETTINGS),
            "lora": json.dumps(
                {
                    "rank": 4,
                    "alpha": 12,
                    "targets": sorted(model.peft_config["default"].target_modules),
                }
                if "lora" in name
                else None
            ),
        }
        save_file(tensors, OUT / f"{name}.safetensors", metadata)


if __name__ == "__main__":
    main()
