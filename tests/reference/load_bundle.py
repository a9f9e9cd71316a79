"""Loads exported bundles with transformers (and peft) and compares their logits.

    python tests/reference/load_bundle.py (BUNDLE EXPECTED.safetensors BASE)...

EXPECTED holds `ids` (i64) and `logits` (f32, [ids, vocabulary]); BASE is the folder of the base
model where BUNDLE holds adapters, and `-` where it holds a whole model. Fails with a message
where the two disagree.
"""

import sys

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def check(bundle, expected, base):
    adapters = base != "-"
    expected = load_file(expected)
    model = AutoModelForCausalLM.from_pretrained(base if adapters else bundle, dtype=torch.float32)
    if adapters:
        model = PeftModel.from_pretrained(model, bundle)
    model.eval()
    with torch.no_grad():
        logits = model(expected["ids"][None]).logits[0]
    difference = (logits - expected["logits"]).abs().max().item()
    assert difference <= 1e-4, f"{bundle}: logits differ by {difference}"

    tokenizer = AutoTokenizer.from_pretrained(bundle)
    text = "Hello, (world)!"
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.decode(ids) == text, ids
    assert tokenizer.eos_token_id == 0, tokenizer.eos_token_id
    encoded = tokenizer(text, return_tensors="pt")
    assert set(encoded) == {"input_ids", "attention_mask"}, set(encoded)
    model.generate(**encoded, max_new_tokens=2, do_sample=False)
    if tokenizer.chat_template:
        chat = [{"role": "user", "content": "Hello"}]
        assert tokenizer.apply_chat_template(chat, tokenize=False) == "Hello!"
        assert (tokenizer.pad_token, tokenizer.padding_side) == ("~", "left")
        assert "}" in tokenizer.all_special_tokens
        generation = model.generation_config
        assert (generation.eos_token_id, generation.temperature) == ([0, 5], 0.5)
        assert generation.pad_token_id == tokenizer.pad_token_id
    if not adapters:
        output = model.generate(expected["ids"][None][:, :4], max_new_tokens=3, do_sample=False)
        assert 4 < output.shape[1] <= 7


if __name__ == "__main__":
    arguments = sys.argv[1:]
    assert arguments and len(arguments) % 3 == 0, __doc__
    for at in range(0, len(arguments), 3):
        check(*arguments[at : at + 3])
