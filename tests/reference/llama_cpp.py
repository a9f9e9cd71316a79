"""Opens GGUF files in llama.cpp and compares token ids and logits.

    python tests/reference/llama_cpp.py (MODEL.gguf EXPECTED.json)...

EXPECTED holds `texts`, each with `text` and the `ids` that it must become, and `prompt` (ids) with
`logits`, those of every position of the prompt. Where it says `exact`, keys and values are kept in 32
bits, and the likeliest token of every position is compared too, where it is one. Fails with a message
where the two disagree.
"""

import json
import sys

import numpy as np
from cyllama.llama import llama_cpp

# Of ggml.h and llama.h.
GGML_TYPE_F32 = 0
FLASH_ATTENTION_DISABLED = 0


class Model(llama_cpp.LlamaModel):
    """With what cyllama 0.2.18's own `get_logits_ith` asks its model for."""

    @property
    def n_vocab(self):
        return self.get_vocab().n_vocab


def check(path, expected):
    with open(expected) as file:
        expected = json.load(file)
    settings = llama_cpp.LlamaModelParams()
    settings.n_gpu_layers = 0
    model = Model(path, settings)
    vocabulary = model.get_vocab()
    for row in expected["texts"]:
        found = vocabulary.tokenize(row["text"], False, True)
        assert found == row["ids"], f"{path}: {row['text']!r} is {found}, not {row['ids']}"

    prompt = expected["prompt"]
    settings = llama_cpp.LlamaContextParams()
    settings.n_ctx = settings.n_batch = max(64, len(prompt))
    if expected.get("exact"):
        settings.type_k = settings.type_v = GGML_TYPE_F32
        settings.flash_attn_type = FLASH_ATTENTION_DISABLED
    context = llama_cpp.LlamaContext(model, settings)
    batch = llama_cpp.LlamaBatch(n_tokens=len(prompt), embd=0, n_seq_max=1)
    batch.set_batch(prompt, 0, True)
    assert context.decode(batch) == 0
    found = np.array([context.get_logits_ith(at) for at in range(len(prompt))])
    logits = np.array(expected["logits"]).reshape(found.shape)
    difference = np.abs(found - logits).max()
    # llama.cpp keeps keys and values in 16 bits, if it isn't told otherwise.
    bound = (0.001 if expected.get("exact") else 0.01) * np.abs(logits).max()
    assert difference <= bound, f"{path}: logits differ by {difference}"
    if expected.get("exact"):
        second, first = np.sort(logits, axis=1)[:, -2:].T
        clear = first - second > 1e-3
        same = found.argmax(axis=1) == logits.argmax(axis=1)
        assert clear.any() and same[clear].all(), f"{path}: another token is the likeliest"


if __name__ == "__main__":
    arguments = sys.argv[1:]
    assert arguments and len(arguments) % 2 == 0, __doc__
    llama_cpp.disable_logging()
    for at in range(0, len(arguments), 2):
        check(*arguments[at : at + 2])
