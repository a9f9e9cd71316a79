#!/usr/bin/env bash
# phonenumbers 9.0.43: leniency VALID, the matcher's default, takes dockets and tax numbers for phones.
#
# Expected: VALID means digits that are grouped like a number of some region.
# Seen:     '12345/2001/99' is a valid number where the region is US, '536-22-1948' where it is PL; both are
#   gone with STRICT_GROUPING, and which texts match changes with the region that is assumed.
# Matters:  in court files and accounts most long numbers are no phones: masks say PHONE for dockets.
#   Presidio's recognizer goes by VALID too.
# Ran with: phonenumbers 9.0.43, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check phonenumbers==9.0.43

venv/bin/python - <<'PYTHON'
import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher

print("phonenumbers", phonenumbers.__version__)
for text, region in [("docket 12345/2001/99 was", "US"), ("no. 536-22-1948 was", "PL")]:
    found = {name: [match.raw_string for match in PhoneNumberMatcher(text, region, leniency=leniency)]
             for name, leniency in [("VALID", Leniency.VALID), ("STRICT_GROUPING", Leniency.STRICT_GROUPING)]}
    default = [match.raw_string for match in PhoneNumberMatcher(text, region)]
    print(text, region, found)
    assert len(found["VALID"]) == 1 and default == found["VALID"], "VALID leaves it now"
    assert found["STRICT_GROUPING"] == []
PYTHON
