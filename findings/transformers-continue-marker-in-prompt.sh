#!/usr/bin/env bash
# transformers 5.24.0: continue_final_message leaves its own marker in the prompt where a template prints the
# turn twice.
#
# Expected: the prompt ends with the unfinished turn, or the template is refused.
# Seen:     the turn is rendered with CONTINUE_FINAL_MESSAGE_TAG behind it, and the text is cut at the last
#   place of that marker: an earlier one stays in the middle of the prompt. An empty turn to go on from is
#   taken without a word, too.
# Matters:  templates that repeat the last turn (a summary, a retrieval query) feed the model a marker that it
#   never saw.
# Ran with: transformers 5.24.0, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0

venv/bin/python - <<'PYTHON'
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
bytes_alone = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
raw = Tokenizer(models.BPE(vocab=bytes_alone, merges=[]))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)

template = "{{ messages[-1].content }} | {{ messages[-1].content }}"
chat = [{"role": "user", "content": "well?"}, {"role": "assistant", "content": "Sure,"}]
text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False, continue_final_message=True)
print("transformers", transformers.__version__, repr(text))
assert text.startswith("Sure,CONTINUE_FINAL_MESSAGE_TAG") and text.endswith("| Sure,"), "the marker is gone now"
PYTHON
