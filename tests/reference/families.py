"""Makes tests/fixtures/lm/families/*.safetensors: a tiny random model of each decoder family with what
transformers 5 computes on it.

As gradients.py, with 30 steps, and beside them the tokens that greedy decoding adds to a prompt
(`greedy` in the metadata). Every model sets all switches of its family; windows are shorter than the
texts. Run: python tests/reference/families.py [NAME ...] (transformers 5.24.0, torch 2.9.1).
"""

import json
import sys

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

import gradients
from gradients import OUT, VOCABULARY, saved_name, sequence_loss, train

STEPS = 30
gradients.STEPS = STEPS
gradients.SETTINGS["steps"] = STEPS

BASE = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
    num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=128,
    bos_token_id=0, eos_token_id=1, pad_token_id=None,
)
YARN = dict(
    rope_type="yarn", rope_theta=10000.0, factor=4.0, original_max_position_embeddings=32,
    beta_fast=16.0, beta_slow=1.0,
)


def make(family, **changes):
    config = getattr(transformers, f"{family}Config" if family != "Gemma3Text" else "Gemma3TextConfig")
    model = getattr(transformers, "Gemma3ForCausalLM" if family == "Gemma3Text" else f"{family}ForCausalLM")
    return model._from_config(config(**{**BASE, **changes}), attn_implementation="eager")


def lora(model, targets):
    return get_peft_model(model, LoraConfig(r=4, lora_alpha=12, lora_dropout=0.0, target_modules=targets))


GEMMA3 = dict(
    head_dim=16, sliding_window=11, query_pre_attn_scalar=24, num_hidden_layers=3,
    layer_types=["sliding_attention", "sliding_attention", "full_attention"],
    rope_parameters=dict(
        sliding_attention=dict(rope_type="default", rope_theta=100.0),
        full_attention=dict(rope_type="linear", factor=2.0, rope_theta=1000.0),
    ),
)

MODELS = {
    "qwen2": lambda: make(
        "Qwen2", use_sliding_window=True, sliding_window=9, max_window_layers=1,
        tie_word_embeddings=True,
    ),
    "qwen3": lambda: make("Qwen3", head_dim=16, attention_bias=True),
    "qwen3-lora": lambda: lora(make("Qwen3", head_dim=16), "all-linear"),
    "gpt-neox": lambda: make(
        "GPTNeoX", num_key_value_heads=4,
        rope_parameters=dict(rope_type="default", rope_theta=500.0, partial_rotary_factor=0.5),
    ),
    "gpt-neox-serial": lambda: make(
        "GPTNeoX", num_key_value_heads=4, use_parallel_residual=False, attention_bias=False,
        hidden_act="gelu_new",
    ),
    "gpt-neox-lora": lambda: lora(make("GPTNeoX", num_key_value_heads=4), "all-linear"),
    "gemma2": lambda: make(
        "Gemma2", head_dim=16, sliding_window=11, query_pre_attn_scalar=24,
        attn_logit_softcapping=1.5, final_logit_softcapping=2.5,
    ),
    "gemma3": lambda: make("Gemma3Text", **GEMMA3),
    "gemma3-lora": lambda: lora(make("Gemma3Text", **GEMMA3), "all-linear"),
    "vaultgemma": lambda: make(
        "VaultGemma", head_dim=16, sliding_window=11, query_pre_attn_scalar=24,
        attn_logit_softcapping=1.5, final_logit_softcapping=2.5,
    ),
    "mistral-window": lambda: make("Mistral", sliding_window=13, head_dim=12),
    "ministral": lambda: make(
        "Ministral", head_dim=8, sliding_window=13, layer_types=["sliding_attention", "full_attention"]
    ),
    "olmo2": lambda: make("Olmo2", attention_bias=True),
    "olmo3": lambda: make(
        "Olmo3", sliding_window=13, layer_types=["sliding_attention", "full_attention"],
        rope_parameters=dict(
            sliding_attention=dict(rope_type="default", rope_theta=10000.0), full_attention=YARN
        ),
    ),
    "smollm3": lambda: make("SmolLM3", num_hidden_layers=3, no_rope_layer_interval=2, mlp_bias=True),
    "granite": lambda: make(
        "Granite", embedding_multiplier=6.0, attention_multiplier=0.2, residual_multiplier=0.3,
        logits_scaling=1.7,
    ),
    "phi": lambda: make("Phi", num_key_value_heads=2, hidden_act="gelu_new"),
    "phi3": lambda: make(
        "Phi3", sliding_window=21, rope_parameters=dict(rope_type="default", rope_theta=1000.0, partial_rotary_factor=0.5),
    ),
    "llama-yarn": lambda: make("Llama", rope_parameters=YARN),
}


def spread(model):
    """Random values everywhere, so that no gradient is zero for a trivial reason."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    from_one = "Gemma" in type(base).__name__
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                noise = 0.2 * torch.randn_like(parameter)
                shifted = name.endswith("bias") or from_one
                parameter.copy_(noise if shifted else 1.0 + noise)
            elif name.endswith("bias"):
                parameter.copy_(0.1 * torch.randn_like(parameter))
            else:
                parameter.copy_(0.15 * torch.randn_like(parameter))


def main(wanted):
    out = OUT / "families"
    out.mkdir(parents=True, exist_ok=True)
    for seed, (name, build) in enumerate(MODELS.items()):
        if wanted and name not in wanted:
            continue
        torch.manual_seed(100 + seed)
        model = build()
        model.train()
        spread(model)
        draw = lambda length: torch.randint(0, VOCABULARY, (length,)).tolist()
        sequences = [draw(19), draw(70), draw(2)]
        batches = [[draw(12), draw(17)] for _ in range(4)]
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
        model.eval()
        prompt = sequences[0][:9]
        grown = list(prompt)
        with torch.no_grad():
            for _ in range(24):
                grown.append(model(input_ids=torch.tensor([grown])).logits[0, -1].argmax().item())
        model.train()
        losses = train(model, [batches[step % 4] for step in range(STEPS)])
        adapted = hasattr(model, "peft_config")
        base = model.get_base_model() if adapted else model
        metadata = {
            "config": base.config.to_json_string(use_diff=False),
            "sequences": json.dumps(sequences),
            "batches": json.dumps(batches),
            "losses": json.dumps(losses),
            "settings": json.dumps(gradients.SETTINGS),
            "greedy": json.dumps({"prompt": prompt, "tokens": grown[len(prompt):]}),
            "lora": json.dumps(
                {"rank": 4, "alpha": 12, "targets": sorted(model.peft_config["default"].target_modules)}
                if adapted else None
            ),
        }
        save_file(tensors, out / f"{name}.safetensors", metadata)
        print(name, losses[0], losses[-1])


if __name__ == "__main__":
    main(sys.argv[1:])
