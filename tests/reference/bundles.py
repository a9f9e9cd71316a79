"""Loads exported bundles with transformers and compares token ids, logits and what they say.

    python tests/reference/bundle_tokenizers.py (BUNDLE EXPECTED.json)...

EXPECTED holds `version`, which transformers must begin with; `texts`, each with `text` and the `ids`
that it must become; `prompt` (ids) with `logits`; and what the bundle must say: `special` (texts),
`named` (texts by name), `templates` (chat templates by name), `rows` and `dtype` of the model. Fails
with a message where the two disagree.
"""

import json
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer


def check(bundle, expected):
    with open(expected) as file:
        expected = json.load(file)
    version = transformers.__version__
    assert version.startswith(expected["version"]), version
    tokenizer = AutoTokenizer.from_pretrained(bundle)
    for row in expected["texts"]:
        found = tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        assert found == row["ids"], f"{bundle}, {version}: {row['text']!r} is {found}, not {row['ids']}"
    for token in expected["special"]:
        assert token in tokenizer.all_special_tokens, (version, token, tokenizer.all_special_tokens)
    for name, token in expected["named"].items():
        assert getattr(tokenizer, name) == token, (version, name)
    if expected["templates"]:
        assert tokenizer.chat_template == expected["templates"], (version, tokenizer.chat_template)
    assert len(tokenizer) <= expected["rows"], (version, len(tokenizer))

    # The type that the bundle names, which transformers 5 takes without a word of the caller.
    model = AutoModelForCausalLM.from_pretrained(bundle, dtype="auto")
    assert str(model.dtype) == f"torch.{expected['dtype']}", (version, model.dtype)
    wide = AutoModelForCausalLM.from_pretrained(bundle, dtype=torch.float32)
    with torch.no_grad():
        found = wide(torch.tensor([expected["prompt"]])).logits[0]
    logits = torch.tensor(expected["logits"]).reshape(found.shape)
    difference = (found - logits).abs().max().item()
    assert difference <= 1e-4 * logits.abs().max().item(), f"{bundle}, {version}: {difference}"
    padded = tokenizer(["a", "a b c"], padding=True, return_tensors="pt")
    model.generate(**padded, max_new_tokens=2, do_sample=False)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    assert arguments and len(arguments) % 2 == 0, __doc__
    for at in range(0, len(arguments), 2):
        check(*arguments[at : at + 2])
