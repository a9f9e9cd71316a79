"""Checkpoints as other tools write them, and the logits that transformers computes from them.

    python tests/reference/logits.py [SmolLM2-135M-Instruct.Q4_1.gguf]

makes tests/fixtures/checkpoints: a random LLaMA (grouped-query attention, Llama 3's rope scaling,
bf16, two shards), a random GPT-2, a GGUF of each laid out as llama.cpp's converter does, and a
PEFT adapter of the LLaMA. With the GGUF of SmolLM2 it also stores some of that model's logits.
The GGUF weights are dequantized by the `gguf` package; nothing here shares code with pft.
"""

import json
import shutil
import sys
from pathlib import Path

import gguf
import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.numpy import save_file
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

FOLDER = Path(__file__).parent.parent / "fixtures" / "checkpoints"
IDS = [3, 17, 5, 90, 41, 2, 64, 33, 8, 77, 12, 50]
# Ids of ordinary SmolLM2 tokens; what they say does not matter.
SMOLLM2_IDS = [504, 5840, 436, 3767, 281, 216, 33, 41, 38, 33, 288, 5217, 281, 2213, 30, 1]
SMOLLM2_STRIDE = 61


def logits_of(model, ids):
    model.eval()
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0].float().numpy()


def randomize(model, seed):
    """Weights large enough that every part of the model shows in the logits."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.2
            parameter.copy_(parameter + noise)


def permute(weights, heads):
    """llama.cpp's LlamaModel.permute (convert_hf_to_gguf.py)."""
    return (
        weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:])
        .swapaxes(1, 2)
        .reshape(weights.shape)
    )


LLAMA = {
    "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "embed_tokens": "token_embd", "norm": "output_norm",
    "lm_head": "output",
}
GPT2 = {
    "ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output",
    "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down", "wte": "token_embd",
    "wpe": "position_embd", "ln_f": "output_norm", "lm_head": "output",
}


def gguf_name(name, table):
    name = name.removeprefix("model.").removeprefix("transformer.")
    module, kind = name.rsplit(".", 1)
    parts = module.split(".")
    if parts[0] in ("layers", "h"):
        return f"blk.{parts[1]}.{table['.'.join(parts[2:])]}.{kind}"
    return f"{table[module]}.{kind}"


def llama():
    config = LlamaConfig(
        vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=16384,
        rope_theta=500000.0, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2,
        rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                      "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
    )
    model = LlamaForCausalLM(config)
    randomize(model, 1)
    # The values are bf16's, so that folder and GGUF hold the same model.
    model = model.to(torch.bfloat16)
    model.save_pretrained(FOLDER / "llama", max_shard_size="15KB")
    # Read again, not cast back: casting rounds the rotary frequencies too.
    model = LlamaForCausalLM.from_pretrained(FOLDER / "llama", dtype=torch.float32)
    save_file({"ids": np.array(IDS), "logits": logits_of(model, IDS)},
              FOLDER / "llama" / "logits.safetensors")

    writer = gguf.GGUFWriter(FOLDER / "llama.gguf", "llama")
    writer.add_context_length(16384)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(48)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(500000.0)
    writer.add_rope_dimension_count(8)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    # convert_hf_to_gguf.py, LlamaModel.generate_extra_tensors.
    base, dim, factor, low, high, old = 500000.0, 8, 8.0, 1.0, 4.0, 8192
    factors = []
    for freq in 1.0 / (base ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim)):
        wavelen = 2 * torch.pi / freq
        if wavelen < old / high:
            factors.append(1)
        elif wavelen > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelen - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    for name, tensor in model.state_dict().items():
        tensor = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            tensor = permute(tensor, 4 if "q_proj" in name else 2)
        writer.add_tensor(gguf_name(name, LLAMA), np.ascontiguousarray(tensor))
    finish(writer)

    adapted = get_peft_model(model, LoraConfig(
        r=3, lora_alpha=6, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    folder = FOLDER / "llama-adapter"
    adapted.save_pretrained(folder)
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = "llama"
    config["target_modules"] = sorted(config["target_modules"])
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    save_file({"ids": np.array(IDS), "logits": logits_of(adapted, IDS)},
              folder / "logits.safetensors")


def gpt2():
    config = GPT2Config(
        vocab_size=96, n_embd=32, n_layer=2, n_head=4, n_positions=32, bos_token_id=0, eos_token_id=0,
    )
    model = GPT2LMHeadModel(config)
    randomize(model, 3)
    model.save_pretrained(FOLDER / "gpt2")
    save_file({"ids": np.array(IDS), "logits": logits_of(model, IDS)},
              FOLDER / "gpt2" / "logits.safetensors")
    writer = gguf.GGUFWriter(FOLDER / "gpt2.gguf", "gpt2")
    writer.add_context_length(32)
    writer.add_embedding_length(32)
    writer.add_block_count(2)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_layer_norm_eps(config.layer_norm_epsilon)
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight":
            continue
        tensor = tensor.numpy()
        if name.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            tensor = tensor.T
        writer.add_tensor(gguf_name(name, GPT2), np.ascontiguousarray(tensor))
    finish(writer)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def smollm2(path):
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields[key].contents()
    heads, key_heads = field("llama.attention.head_count"), field("llama.attention.head_count_kv")
    config = LlamaConfig(
        vocab_size=field("llama.vocab_size"), hidden_size=field("llama.embedding_length"),
        intermediate_size=field("llama.feed_forward_length"),
        num_hidden_layers=field("llama.block_count"), num_attention_heads=heads,
        num_key_value_heads=key_heads, max_position_embeddings=field("llama.context_length"),
        rope_theta=field("llama.rope.freq_base"), rms_norm_eps=1e-5, tie_word_embeddings=True,
    )
    names = {theirs: ours for ours, theirs in LLAMA.items()}
    state = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32)
        parts = tensor.name.split(".")
        module = names[parts[-2]]
        name = f"model.layers.{parts[1]}.{module}.weight" if parts[0] == "blk" else f"model.{module}.weight"
        if parts[-2] in ("attn_q", "attn_k"):
            count = heads if parts[-2] == "attn_q" else key_heads
            rows = values.shape[0]
            values = values.reshape(count, rows // count // 2, 2, -1).swapaxes(1, 2).reshape(rows, -1)
        state[name] = torch.from_numpy(np.ascontiguousarray(values))
    model = LlamaForCausalLM(config)
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert missing == ["lm_head.weight"] and not unexpected, (missing, unexpected)
    model.tie_weights()
    logits = logits_of(model, SMOLLM2_IDS)
    save_file({"ids": np.array(SMOLLM2_IDS),
               "logits": np.ascontiguousarray(logits[:, ::SMOLLM2_STRIDE])},
              FOLDER / "smollm2-logits.safetensors")


def main():
    torch.manual_seed(0)
    shutil.rmtree(FOLDER / "llama", ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    llama()
    gpt2()
    if len(sys.argv) > 1:
        smollm2(sys.argv[1])


if __name__ == "__main__":
    main()
