#!/usr/bin/env bash
# transformers 5.24.0: the mask of assistant tokens lies on the prompt where a template renders turns inside a
# set block.
#
# Expected: `return_assistant_tokens_mask` marks what stands between generation tags, wherever the template
#   prints it.
# Seen:     the tags note positions in the buffer that is being written. Inside `{% set turns %}...{% endset
#   %}` that buffer begins anew, so that 'PRE' + 'hi' + 'yo' is marked at 'PR' and not at 'yo'; a filter block
#   that lengthens the text ('ß' to 'SS') marks one token too few. 4.57.6 marks nothing.
# Matters:  loss is taken on the system prompt and none on the answers, without a warning. Decode what the
#   mask covers before training.
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

turn = ("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}")
chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]


def marked(template):
    encoded = tokenizer.apply_chat_template(chat, chat_template=template, return_dict=True, return_assistant_tokens_mask=True)
    text = "".join(tokenizer.decode([token]) if mark else "_" for token, mark in zip(encoded["input_ids"], encoded["assistant_masks"]))
    print("transformers", transformers.__version__, text)
    return text


assert marked("PRE" + turn) == "_____yo"
assert marked("{% set turns %}" + turn + "{% endset %}PRE{{ turns }}") == "PR_____", "the answer is marked now"
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

turn = ("{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}")
chat = [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "yo"}]
encoded = tokenizer.apply_chat_template(chat, chat_template="{% set turns %}" + turn + "{% endset %}PRE{{ turns }}",
                                        return_dict=True, return_assistant_tokens_mask=True)
print("transformers", transformers.__version__, encoded["assistant_masks"])
assert not any(encoded["assistant_masks"])
PYTHON
