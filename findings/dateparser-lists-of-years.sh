#!/usr/bin/env bash
# dateparser 1.5.0: of a list of years the first alone is found, and a sum of money is a year.
#
# Expected: `search_dates` finds 1996, 1997 and 1998 in 'in 1996, 1997 and 1998', and nothing in 'he paid 1200
#   to 14 men'.
# Seen:     1997 and 1998 are not found; 1200 is the year 1200; of '12 and 15 March 1999' the 12th is lost,
#   and '3, 4 and 5 June 1992' holds no date at all.
# Matters:  shifting the dates of a text by a general parser leaves real dates beside shifted ones, by which
#   the shift can be told.
# Ran with: dateparser 1.5.0, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check dateparser==1.5.0

venv/bin/python - <<'PYTHON'
from datetime import datetime
import dateparser
from dateparser.search import search_dates

print("dateparser", dateparser.__version__)


def found(text):
    dates = search_dates(text, languages=["en"], settings={"RELATIVE_BASE": datetime(2030, 1, 1)}) or []
    print(f"{text!r}:", [(part, date.date().isoformat()) for part, date in dates])
    return [date for _, date in dates]


years = found("in 1996, 1997 and 1998")
assert [date.year for date in years] == [1996], "the later years are found now"
assert [date.year for date in found("he paid 1200 to 14 men")] == [1200]
assert [date.day for date in found("between 12 and 15 March 1999")] == [15]
assert found("on 3, 4 and 5 June 1992") == []
PYTHON
