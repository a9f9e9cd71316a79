#!/usr/bin/env bash
# transformers 5.24.0 builds GPT-2's and Qwen2's tokenizers anew and drops the file's normalizer and prefix
# space.
#
# Expected: a tokenizer.json with a normalizer is used as it is, as 4.x does.
# Seen:     for model_type gpt2 and qwen2 (also where no tokenizer class is named) the NFKC normalizer of the
#   file is gone, and the ligature in the text stays one character; with `tokenizer_class:
#   PreTrainedTokenizerFast` the file is kept.
# Matters:  fine-tuned models with a tokenizer of their own get ids that they were not trained on. Name the
#   generic class in tokenizer_config.json.
# Ran with: transformers 5.24.0, tokenizers 0.23.2, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0 tokenizers==0.23.2

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
tokenizer.normalizer = normalizers.NFKC()

import transformers
text = "the \ufb01rst"
expected = tokenizer.encode(text).tokens
print("tokenizers:", expected)
for name, model_type, settings in [("gpt2", "gpt2", {}), ("qwen2", "qwen2", {"tokenizer_class": "Qwen2TokenizerFast"}),
                                   ("generic", "gpt2", {"tokenizer_class": "PreTrainedTokenizerFast"})]:
    os.mkdir(name)
    tokenizer.save(name + "/tokenizer.json")
    json.dump(settings | {"eos_token": "<|endoftext|>"}, open(name + "/tokenizer_config.json", "w"))
    json.dump({"model_type": model_type}, open(name + "/config.json", "w"))
    found = transformers.AutoTokenizer.from_pretrained(name)
    print("transformers", transformers.__version__, name, type(found).__name__, found.tokenize(text))
    assert (found.tokenize(text) == expected) == (name == "generic"), name
PYTHON
