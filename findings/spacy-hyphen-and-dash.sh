#!/usr/bin/env bash
# spaCy's English tokenizer: 22-24 is three tokens, 22–24 one.
#
# Expected: a range is cut the same with a hyphen and with the dash that typesetters put there.
# Seen:     '22-24' gives 22, -, 24; '22–24' (U+2013) stays whole, and so do 1994–95 and 10–15. A docket
#   '12-A-45' becomes 12, -, A-45.
# Matters:  rules over tokens (Matcher, entity ruler, alignment with gold tokens) work on text from a keyboard
#   and fail on typeset text.
# Ran with: spaCy 3.8.18, Python 3.11. Takes a minute.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check spacy==3.8.18

venv/bin/python - <<'PYTHON'
import spacy

nlp = spacy.blank("en")
cut = lambda text: [token.text for token in nlp(text)]
print("spaCy", spacy.__version__)
for text in ["pages 22-24", "pages 22\u201324", "1994-95", "1994\u201395", "12-A-45"]:
    print(ascii(text), [ascii(token) for token in cut(text)])
assert cut("pages 22-24") == ["pages", "22", "-", "24"]
assert cut("pages 22\u201324") == ["pages", "22\u201324"], "the dash is cut now"
assert cut("1994-95") == ["1994", "-", "95"] and cut("1994\u201395") == ["1994\u201395"]
assert cut("12-A-45") == ["12", "-", "A-45"]
PYTHON
