#!/usr/bin/env bash
# tokenizers 0.23.2: a long text's further windows are gone, and transformers hands on the first alone.
#
# Expected: `enable_truncation(5, stride=2)` gives the first five tokens, and the other windows in
#   `overflowing`; `return_overflowing_tokens=True` of transformers gives one row a window.
# Seen:     for a text, `overflowing` is empty and transformers returns one row, without a word. For the same
#   words given as a list (pre-tokenized) the windows are there. tokenizers 0.22.2 gives them for both.
# Matters:  question answering, token classification and training on windows see the beginning of each
#   document only.
# Ran with: tokenizers 0.23.2 and 0.22.2, transformers 5.24.0, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check tokenizers==0.23.2 transformers==5.24.0
"${PYTHON:-python3}" -m venv older
older/bin/pip install --quiet --disable-pip-version-check tokenizers==0.22.2

venv/bin/python - <<'PYTHON'
import tokenizers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

words = "a b c d e f g h".split()
tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()

fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="a")
rows = fast("a b c d e f g h", truncation=True, max_length=5, stride=2,
            return_overflowing_tokens=True, add_special_tokens=False)["input_ids"]

tokenizer.enable_truncation(5, stride=2)
text = tokenizer.encode("a b c d e f g h")
listed = tokenizer.encode(words, is_pretokenized=True)
print("tokenizers", tokenizers.__version__)
print("text:         ", text.tokens, "overflowing", [window.tokens for window in text.overflowing])
print("list of words:", listed.tokens, "overflowing", [window.tokens for window in listed.overflowing])
print("transformers: ", rows)
assert text.overflowing == [], "the windows are back"
assert [window.tokens for window in listed.overflowing] == [["d", "e", "f", "g", "h"]]
assert rows == [[0, 1, 2, 3, 4]]
PYTHON

older/bin/python - <<'PYTHON'
from tokenizers import Tokenizer, models, pre_tokenizers

words = "a b c d e f g h".split()
tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="a"))
tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
tokenizer.enable_truncation(5, stride=2)
windows = [window.tokens for window in tokenizer.encode("a b c d e f g h").overflowing]
print("tokenizers 0.22.2, text: overflowing", windows)
assert windows == [["d", "e", "f", "g", "h"]]
PYTHON
