"""Turns the packs of tests/fixtures/fuzz into folders for libFuzzer, and back.

    python3 fuzz/packs.py unpack gguf fuzz/corpus/gguf
    python3 fuzz/packs.py pack fuzz/corpus/gguf gguf

A pack holds inputs one after the other, each behind its length (32 bits, little-endian).
"""

import hashlib
import pathlib
import struct
import sys

PACKS = pathlib.Path(__file__).parent.parent / "tests/fixtures/fuzz"


def unpack(name: str, folder: str) -> None:
    data = (PACKS / f"{name}.pack").read_bytes()
    target = pathlib.Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from("<I", data, at)
        part = data[at + 4 : at + 4 + length]
        (target / hashlib.sha1(part).hexdigest()).write_bytes(part)
        at += 4 + length


def pack(folder: str, name: str) -> None:
    parts = [path.read_bytes() for path in sorted(pathlib.Path(folder).iterdir())]
    data = b"".join(struct.pack("<I", len(part)) + part for part in parts)
    (PACKS / f"{name}.pack").write_bytes(data)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["unpack", name, folder]:
            unpack(name, folder)
        case ["pack", folder, name]:
            pack(folder, name)
        case _:
            sys.exit(__doc__)
