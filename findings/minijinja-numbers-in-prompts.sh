#!/usr/bin/env bash
# minijinja 3.1.0 prints numbers of a chat prompt another way than Jinja2, and infinity as null.
#
# Expected: a number in a tool's schema or a message is rendered alike by two engines of one template
#   language.
# Seen:     1e16 is 10000000000000000.0 in minijinja and 1e+16 in Jinja2; 1e-05 is 0.00001; `tojson` of
#   infinity is null where Python writes Infinity. `x|int` of a text that is no number raises, and is 0 in
#   Jinja2.
# Matters:  tool schemas with bounds (`minimum: 1e-5`): a model is trained on one text and served another.
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
assert both("{{ x }}", 1e16) == ["10000000000000000.0", "1e+16"]
assert both("{{ x|tojson }}", {"minimum": 1e-5}) == ['{"minimum": 0.00001}', '{"minimum": 1e-05}']
assert both("{{ x|tojson }}", float("inf")) == ["null", "Infinity"]
assert both("{{ x|int }}", "none") == ["TemplateError", "0"]
PYTHON
