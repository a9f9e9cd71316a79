#!/usr/bin/env bash
# obstore 0.12.1 (object_store): 'put if absent' works on S3 and on a folder, 'rename if absent' on the folder
# alone.
#
# Expected: write to a temporary name, then rename without overwriting: the same calls publish a file once, on
#   disk and on S3.
# Seen:     `put(mode='create')` answers AlreadyExistsError for the second writer in all stores; `copy` and
#   `rename` with `overwrite=False` are refused by S3 (NotSupportedError) until the store is made with
#   `copy_if_not_exists='multipart'`, and the conditional update by e_tag, which S3 has, is missing in the
#   local folder.
# Matters:  stores of sealed results that are to work on both: put with create mode at the final name, and
#   never rename.
# Ran with: obstore 0.12.1, moto 5.2.5 (an S3 server on loopback), Python 3.11. Takes a minute or two.
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
"${PYTHON:-python3}" -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check "moto[server,s3]==5.2.5" obstore==0.12.1

venv/bin/python - <<'PYTHON'
import os
import socket
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
import obstore
from obstore.store import LocalStore, S3Store

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
address = f"http://127.0.0.1:{port}"
server = subprocess.Popen([os.path.join(os.path.dirname(sys.executable), "moto_server"), "-H", "127.0.0.1", "-p", str(port)],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def answer(call):
    try:
        call()
        return "works"
    except Exception as error:
        return type(error).__name__


try:
    for _ in range(300):
        try:
            urllib.request.urlopen(urllib.request.Request(f"{address}/box", method="PUT")).read()
            break
        except OSError:
            time.sleep(0.2)
    os.mkdir("folder")
    settings = dict(endpoint=address, access_key_id="example", secret_access_key="example", region="us-east-1",
                    client_options={"allow_http": True})
    found = {}
    for name, store in [("S3", S3Store("box", **settings)), ("folder", LocalStore(prefix=os.path.abspath("folder")))]:
        found[name] = [
            answer(lambda: obstore.put(store, "a", b"1", mode="create")),
            answer(lambda: obstore.put(store, "a", b"2", mode="create")),
            answer(lambda: obstore.copy(store, "a", "b", overwrite=False)),
            answer(lambda: obstore.rename(store, "a", "c", overwrite=False)),
            answer(lambda: obstore.put(store, "d", b"1")),
            answer(lambda: obstore.put(store, "d", b"2", mode={"e_tag": obstore.head(store, "d")["e_tag"]})),
        ]
        print("obstore", version("obstore"), name, "create, again, copy, rename, put, update:", found[name])
    multipart = S3Store("box", copy_if_not_exists="multipart", **settings)
    assert answer(lambda: obstore.copy(multipart, "a", "e", overwrite=False)) == "works"
finally:
    server.terminate()
assert found["S3"] == ["works", "AlreadyExistsError", "NotSupportedError", "NotSupportedError", "works", "works"], found["S3"]
assert found["folder"][:4] == ["works", "AlreadyExistsError", "works", "works"]
assert found["folder"][5] == "NotImplementedError", found["folder"]
PYTHON
