#!/usr/bin/env bash
# python-stdnum refuses the Belgian IBAN of everybody's examples, schwifty takes it.
#
# Expected: two validators of ISO 13616 agree on BE68 5390 0754 7034, whose check digits, also the national
#   ones, are right.
# Seen:     python-stdnum looks the bank up in its list, does not find 539, and raises InvalidComponent;
#   schwifty finds it valid, also with `validate_bban`. Of four other countries' examples both say the same.
# Matters:  a recognizer that lets a library confirm an IBAN misses numbers whose bank is not in that
#   library's list: real ones of closed banks too. Trust the check digits.
# Ran with: python-stdnum 2.2, schwifty 2026.10.1, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check python-stdnum==2.2 schwifty==2026.10.1

venv/bin/python - <<'PYTHON'
import stdnum
import stdnum.iban
import schwifty
from importlib.metadata import version

print("python-stdnum", stdnum.__version__, "schwifty", version("schwifty"))
example = "BE68539007547034"
try:
    answer = stdnum.iban.validate(example)
except stdnum.exceptions.ValidationError as error:
    answer = type(error).__name__
print(example, "python-stdnum:", answer, "schwifty:", schwifty.IBAN(example, validate_bban=True).is_valid)
assert int("5390075470") % 97 == 34, "the national check digits"
assert answer == "InvalidComponent", "it is known now"
assert schwifty.IBAN(example, validate_bban=True).is_valid
for other in ["GB82WEST12345698765432", "DE89370400440532013000", "NO9386011117947", "ES9121000418450200051332"]:
    assert stdnum.iban.is_valid(other) and schwifty.IBAN(other, validate_bban=True).is_valid, other
PYTHON
