#!/usr/bin/env bash
# Whether every crate of the workspace, built by itself, takes its dependencies with the features that a build
# of all takes them with, so that neither rebuilds what the other built. Prints what differs, and fails.
#
# cargo-hakari's own `verify` answers for every combination of the workspace's features and so for `cuda`,
# whose dependencies are another set by design.
set -euo pipefail
cd "$(dirname "$0")/../.."

features() {
  cargo tree --locked "$@" -e normal,build,dev --prefix none --no-dedupe -f '{p} [{f}]' \
    | sed 's/ (\*)$//' | sort -u
}

all=$(features --workspace)
packages=$(cargo tree --locked --workspace --depth 0 --prefix none -f '{p}' | awk 'NF { print $1 }' | sort -u)
differing=
for package in $packages; do
  # candle-core stands outside workspace-hack, since most crates do without it.
  lines=$(comm -13 <(printf '%s\n' "$all") <(features --package "$package") | grep -v '^candle-core ' || true)
  [ -z "$lines" ] || differing+=$(printf '%s\n' "$lines" | sed "s/^/$package: /")$'\n'
done
if [ -n "$differing" ]; then
  printf '%s' "$differing"
  echo "these have other features in a build of the whole workspace: add them to crates/workspace-hack/Cargo.toml"
  exit 1
fi
