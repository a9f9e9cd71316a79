"""The works of crates/pft-lm/examples/works, for the peers."""

from dataclasses import dataclass, replace

LENGTH = 256


@dataclass(frozen=True)
class Work:
    """A shape, and what is trained of it."""

    config: dict
    batch: int
    lora: bool = False


def _gpt2(vocabulary: int, width: int, layers: int, heads: int, positions: int) -> dict:
    # Untied, because Opacus' ghost mode refuses tied heads and fastDP clips them wrongly.
    return {
        "model_type": "gpt2", "vocab_size": vocabulary, "n_embd": width, "n_layer": layers,
        "n_head": heads, "n_positions": positions, "tie_word_embeddings": False,
        "resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0,
    }


CPU_WORKS = ["w1", "w2", "w3"]
GPU_WORKS = ["g1", "g2"]
WORKS = {
    "w1": Work(_gpt2(8192, 256, 6, 4, 256), batch=8),
    "w2": Work(_gpt2(50257, 768, 12, 12, 1024), batch=4),
    "w3": Work(
        {
            "model_type": "llama", "vocab_size": 49152, "hidden_size": 576,
            "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
            "intermediate_size": 1536, "max_position_embeddings": 2048,
            "tie_word_embeddings": True, "attention_dropout": 0.0,
        },
        batch=4,
        lora=True,
    ),
}
# On a GPU: SmolLM2-135M's shape again and that of Llama 3.2 1B, of stages/train/examples.
WORKS["g1"] = replace(WORKS["w3"], batch=32)
WORKS["g2"] = Work(
    {
        "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048,
        "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 8192, "max_position_embeddings": 2048,
        "tie_word_embeddings": True, "attention_dropout": 0.0,
    },
    batch=32,
    lora=True,
)


def sequences(work: Work) -> list[list[int]]:
    """The same tokens in every step, and the same as pft's."""
    vocabulary = work.config["vocab_size"]
    return [[(s * LENGTH + i) * 7919 % vocabulary for i in range(LENGTH)]
            for s in range(work.batch)]
