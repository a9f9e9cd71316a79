#!/usr/bin/env bash
# transformers 4.57.6 turns off a tokenizer.json's add_prefix_space, 5.24.0 keeps it: other ids from one file.
#
# Expected: tokenizer.json says how a text is cut, and every reader gives the ids that the tokenizers library
#   gives.
# Seen:     with `tokenizer_class: PreTrainedTokenizerFast` and ByteLevel's `add_prefix_space: true` in the
#   file, 4.57.6 cuts 'hello world' without the space in front, because tokenizer_config.json does not repeat
#   the setting; 5.24.0 agrees with tokenizers.
# Matters:  a model is trained with one version and served with the other: the first token of every text
#   differs. Write `add_prefix_space` into tokenizer_config.json too.
# Ran with: transformers 4.57.6 (tokenizers 0.22.2) and 5.24.0 (tokenizers 0.23.2), Python 3.11. Takes a
#   minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==4.57.6 tokenizers==0.22.2
"${PYTHON:-python3}" -m venv newer
newer/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.2

venv/bin/python - <<'PYTHON'
import json
import os
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

tokenizer = Tokenizer(models.BPE())
tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
tokenizer.decoder = decoders.ByteLevel()
trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                              special_tokens=["<|endoftext|>"], show_progress=False)
tokenizer.train_from_iterator(["hello world the court held that the applicant"] * 5, trainer)
os.mkdir("model")
tokenizer.save("model/tokenizer.json")
json.dump({"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|endoftext|>"},
          open("model/tokenizer_config.json", "w"))

import transformers
expected = Tokenizer.from_file("model/tokenizer.json").encode("hello world").tokens
found = transformers.AutoTokenizer.from_pretrained("model").tokenize("hello world")
print("tokenizers:          ", expected)
print("transformers", transformers.__version__ + ":", found)
assert expected[0].startswith("\u0120") and not found[0].startswith("\u0120"), "4.57.6 keeps the setting"
PYTHON

newer/bin/python - <<'PYTHON'
import transformers
from tokenizers import Tokenizer

expected = Tokenizer.from_file("model/tokenizer.json").encode("hello world").tokens
found = transformers.AutoTokenizer.from_pretrained("model").tokenize("hello world")
print("transformers", transformers.__version__ + ":", found)
assert found == expected, "5.24.0 drops it as well"
PYTHON
