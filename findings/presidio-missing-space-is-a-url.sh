#!/usr/bin/env bash
# Presidio 2.2.366: where the space after a full stop is missing, two words are a URL.
#
# Expected: a URL without a scheme has a host that exists, or at least more than two ordinary words.
# Seen:     'dismissed the appeal.In court' has the URL 'appeal.In' at 0.5, 'closed.It was' has 'closed.It',
#   and of 'he paid.The court' it is 'paid.Th', the last letter left behind; so for README.md. Any top-level
#   domain of two letters will do, without a check of what follows.
# Matters:  text from PDFs and web pages lacks such spaces everywhere: words around sentence ends are masked,
#   and halves of words remain.
# Ran with: presidio-analyzer 2.2.366, Python 3.11. Takes a minute or two.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check presidio-analyzer==2.2.366

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
import tldextract
from presidio_analyzer.predefined_recognizers import UrlRecognizer

tldextract.extract = tldextract.TLDExtract(suffix_list_urls=())
recognizer = UrlRecognizer()
print("presidio-analyzer", version("presidio-analyzer"))
for text, expected in [("dismissed the appeal.In court", "appeal.In"), ("the file was closed.It was", "closed.It"),
                       ("he paid.The court", "paid.Th"), ("see README.md here", "README.md")]:
    found = [(text[result.start:result.end], result.score) for result in recognizer.analyze(text, ["URL"], None)]
    print(f"{text!r}: {found}")
    assert found == [(expected, 0.5)], "it is no URL now"
PYTHON
