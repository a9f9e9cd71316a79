#!/usr/bin/env bash
# minijinja 3.1.0 takes the other branch of a chat template: a string is no sequence, None is iterable, a text
# is greater than a number.
#
# Expected: templates written for Jinja2 take the same branch, or fail.
# Seen:     `content is sequence` is true in Jinja2 for strings and dictionaries and false in minijinja; `none
#   is iterable` the other way round. `'abc' > 1` and `none > 1` raise in Jinja2; in minijinja they are true
#   and false.
# Matters:  templates that ask whether a content is a text or a list of parts render another prompt in
#   runtimes written in Rust, without an error.
# Ran with: minijinja 3.1.0 (Python package), Jinja2 3.1.6, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check minijinja==3.1.0 jinja2==3.1.6

venv/bin/python - <<'PYTHON'
from importlib.metadata import version
import jinja2
import minijinja


def both(template, value):
    answers = []
    for render in (minijinja.Environment().render_str, lambda text, **names: jinja2.Environment().from_string(text).render(**names)):
        try:
            answers.append(render(template, x=value))
        except Exception as error:
            answers.append(type(error).__name__)
    print(f"{template} of {value!r}: minijinja {answers[0]}, Jinja2 {answers[1]}")
    return answers


print("minijinja", version("minijinja"), "Jinja2", jinja2.__version__)
assert both("{{ x is sequence }}", "hello") == ["False", "True"]
assert both("{{ x is sequence }}", {"type": "text"}) == ["False", "True"]
assert both("{{ x is iterable }}", None) == ["True", "False"]
assert both("{{ x > 1 }}", "abc") == ["True", "TypeError"]
assert both("{{ x > 1 }}", None) == ["False", "TypeError"]
PYTHON
