#!/usr/bin/env bash
# tokenizers 0.23.2: WordPiece trained twice on the same text gives two vocabularies.
#
# Expected: a trainer without sampling gives the same vocabulary each time, as the BPE trainer does.
# Seen:     of 12 trainings on 60 sentences most give a vocabulary of their own (not only another order), and
#   some cut the same sentence into other pieces. Ties between equally frequent pairs are broken by the order
#   of a hash map.
# Matters:  a vocabulary that is made anew in a pipeline is no function of its input: hashes of outputs
#   differ, caches miss, and two machines disagree about ids.
# Ran with: tokenizers 0.23.2, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tokenizers==0.23.2

venv/bin/python - <<'PYTHON'
import json
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

text = ["the court held that the applicant had been heard",
        "the applicants were heard by the courts of appeal",
        "he withheld the letters that they held"] * 20


def train(model, trainer):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.train_from_iterator(text, trainer)
    return tuple(sorted(json.loads(tokenizer.to_str())["model"]["vocab"]))


wordpiece = {train(models.WordPiece(unk_token="[UNK]"),
                   trainers.WordPieceTrainer(vocab_size=60, special_tokens=["[UNK]"], show_progress=False))
             for _ in range(12)}
bpe = {train(models.BPE(), trainers.BpeTrainer(vocab_size=60, show_progress=False)) for _ in range(12)}
print("tokenizers", tokenizers.__version__)
print("vocabularies of 12 trainings: WordPiece", len(wordpiece), "BPE", len(bpe))
assert len(wordpiece) > 1, "WordPiece is reproducible now"
assert len(bpe) == 1
PYTHON
