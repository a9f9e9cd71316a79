#!/usr/bin/env python3
"""A stage in another language than Rust: it keeps the contract and copies a tagged text file.

It takes an optional input `model` and makes a `model` artifact with one file, `text.txt`. With
`steps` it works step by step and keeps finished steps in its scratch folder, so that a test can
kill it at any moment and see the next attempt go on.
"""

import json
import os
import sys
import time

DESCRIPTION = {
    "name": "fold",
    "revision": 1,
    "about": "Joins texts",
    "inputs": [{"name": "model", "kind": "model", "required": False}],
    "outputs": [{"name": "model", "kind": "model", "required": True}],
    "config": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "text": {"type": "string", "default": ""},
            "file": {"type": ["string", "null"], "format": "path", "default": None},
            "steps": {"type": "integer", "minimum": 0, "default": 0},
            "seconds": {"type": "number", "default": 0.0},
            "fail_with": {"type": ["integer", "null"], "default": None},
            "log": {"type": ["string", "null"], "default": None},
        },
    },
}


def event(**fields):
    print(json.dumps(fields), file=sys.stderr, flush=True)


def main(arguments):
    if arguments == ["--describe"]:
        print(json.dumps(DESCRIPTION))
        return 0
    options, inputs = {}, {}
    while arguments:
        flag, value, arguments = arguments[0], arguments[1], arguments[2:]
        if flag == "--input":
            port, path = value.split("=", 1)
            inputs[port] = path
        else:
            options[flag] = value
    with open(options["--config"]) as handle:
        config = json.load(handle)
    if config["log"]:
        with open(config["log"], "a") as handle:
            handle.write(config["text"] + "\n")
    if config["fail_with"] is not None:
        event(event="error", message="asked to fail; ask for something else", exit_code=config["fail_with"])
        return config["fail_with"]
    text = ""
    if "model" in inputs:
        with open(os.path.join(inputs["model"], "text.txt")) as handle:
            text = handle.read()
    if config["file"]:
        with open(config["file"]) as handle:
            text += handle.read()
    scratch = options["--scratch"]
    for step in range(config["steps"]):
        done = os.path.join(scratch, str(step))
        if not os.path.exists(done):
            time.sleep(config["seconds"])
            with open(done + ".partial", "w") as handle:
                handle.write(config["text"])
            os.rename(done + ".partial", done)
        with open(done) as handle:
            text += handle.read()
    if config["steps"] == 0:
        text += config["text"]
    output = options["--output"]
    os.makedirs(output, exist_ok=True)
    with open(os.path.join(output, "text.txt"), "w") as handle:
        handle.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
