#!/usr/bin/env bash
# Faker 40.63.0: with two locales and a seed for each person, a fair coin comes up 75 to 25.
#
# Expected: `fake.random_element(['x', 'y'])` and `fake.boolean()` are fair whatever the number of locales.
# Seen:     a proxy of two locales draws the locale from the first generator and the value from that of the
#   locale, which `seed_instance` has set to the same seed: where the second locale is drawn, its first draw
#   repeats the one that chose it. Of 2000 persons about three quarters get one of the two values; with one
#   locale it is half.
# Matters:  surrogates by a seed a person: attributes of made-up people hang together, and the mixture is not
#   what was asked for. Draw the locale by a generator of your own.
# Ran with: Faker 40.63.0, Python 3.11. Takes seconds.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check faker==40.63.0

venv/bin/python - <<'PYTHON'
import faker
from faker import Faker


def share(fake):
    drawn = []
    for person in range(2000):
        fake.seed_instance(person)
        drawn.append(fake.random_element(["x", "y"]))
    return drawn.count("y") / len(drawn)


two, one = share(Faker(["en_US", "de_DE"])), share(Faker("en_US"))
print("Faker", faker.VERSION, "share of 'y': two locales", two, "one", one)
assert abs(two - 0.5) > 0.2, "the coin is fair now"
assert abs(one - 0.5) < 0.05
PYTHON
