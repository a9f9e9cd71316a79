#!/usr/bin/env bash
# transformers 5.24.0: `tojson(2)` in a chat template escapes letters; everywhere else it indents.
#
# Expected: Jinja2's filter is `tojson(value, indent)`: two spaces of indentation.
# Seen:     transformers registers a filter of its own, whose first argument is ensure_ascii: `tojson(2)`
#   writes one line with '\\u00e9'. Jinja2 and minijinja indent. `tojson(indent=2)` is the same in all three.
# Matters:  tool schemas in prompts: a template tried in Jinja2 or served by a runtime in Rust gives another
#   text than training had.
# Ran with: transformers 5.24.0, Jinja2 3.1.6, minijinja 3.1.0, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check transformers==5.24.0 jinja2==3.1.6 minijinja==3.1.0

venv/bin/python - <<'PYTHON'
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

transformers.logging.set_verbosity_error()
bytes_alone = {sign: number for number, sign in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
raw = Tokenizer(models.BPE(vocab=bytes_alone, merges=[]))
raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw)

import jinja2
import minijinja

value = {"a": "\u00e9"}
answers = {}
for template in ("{{ messages[0].content|tojson(2) }}", "{{ messages[0].content|tojson(indent=2) }}"):
    chat = [{"role": "user", "content": value}]
    answers[template] = [
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False),
        jinja2.Environment().from_string(template).render(messages=chat),
        minijinja.Environment().render_str(template, messages=chat),
    ]
    print(template, dict(zip(["transformers " + transformers.__version__, "Jinja2", "minijinja"], answers[template])))
first, named = answers.values()
assert first[0] == '{"a": "\\u00e9"}', "it indents now"
assert all(text.count("\n") == 2 for text in first[1:] + named)
PYTHON
