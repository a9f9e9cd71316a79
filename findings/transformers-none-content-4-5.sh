#!/usr/bin/env bash
# transformers: an assistant turn with content None reads 'None' in 4.57.6 and '' in 5.24.0.
#
# Expected: one chat and one template give one prompt in both versions.
# Seen:     5.24.0 takes keys that are None out of each turn before it renders (not out of nested ones), so
#   that `'content' in message` turns false and the text empty; 4.57.6 prints None.
# Matters:  turns that only call tools have no content: a model trained with one version sees the word None,
#   and with the other nothing.
# Ran with: transformers 5.24.0 and 4.57.6, Python 3.11. Takes a minute or two.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0
"${PYTHON:-python3}" -m venv older
older/bin/pip install --quiet --disable-pip-version-check transformers==4.57.6

venv/bin/python - <<'PYTHON'
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
bytes_alone = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
raw = Tokenizer(models.BPE(vocab=bytes_alone, merges=[]))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)

chat = [{"role": "assistant", "content": None, "tool_calls": [{"name": "clock", "arguments": {"zone": None}}]}]
template = "{{ messages[0].content }};{{ 'content' in messages[0] }};{{ messages[0].tool_calls[0].arguments }}"
text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
print("transformers", transformers.__version__, repr(text))
assert text == ";False;{'zone': None}", "None is kept again"
PYTHON

older/bin/python - <<'PYTHON'
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
bytes_alone = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
raw = Tokenizer(models.BPE(vocab=bytes_alone, merges=[]))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)

chat = [{"role": "assistant", "content": None, "tool_calls": [{"name": "clock", "arguments": {"zone": None}}]}]
template = "{{ messages[0].content }};{{ 'content' in messages[0] }};{{ messages[0].tool_calls[0].arguments }}"
text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
print("transformers", transformers.__version__, repr(text))
assert text == "None;True;{'zone': None}"
PYTHON
