#!/bin/sh
# Makes data/models/en_pii_sm, the recognizer of configs/tag-pii/default.yml:
#
#   sh data/make-tagger.sh TAB_TRAIN.jsonl OUTPUT
#
# TAB_TRAIN is what we have of the training part of the Text Anonymization Benchmark, 98 cases in its
# JSON form, one a line. The cases below are held out: they say when to stop and how far to lean. About
# a minute on two cores; TAG_PII names the binary if it is not on the PATH.
set -eu

gold=$1 output=$2
data=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

held_out='"doc_id": "(001-94238|001-91722|001-61509|001-76487|001-138892|001-58849|001-60945|001-72150|001-86461|001-79432|001-91889|001-71800|001-94417|001-100543|001-168377)"'
grep -E "$held_out" "$gold" >"$work/held-out.jsonl"
grep -vE "$held_out" "$gold" >"$work/cases.jsonl"
"${TAG_PII:-tag-pii}" train --gold "$work/cases.jsonl" --validation "$work/held-out.jsonl" \
    --base "$data/models/en_core_web_sm" --output "$output" \
    --label-set tab --dropout 0.3 --epochs 16 --patience 4
