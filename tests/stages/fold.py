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
    "checks": True,
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
            "folder": {"type": ["string", "null"], "format": "path", "default": None, "x-reads": ["*.txt"]},
            "length": {"type": "number", "default": 1},
            "at_most": {"type": ["number", "null"], "default": None},
            "flaky": {"type": "integer", "default": 0},
            "fail_check": {"type": "boolean", "default": False},
            "damaged_scratch": {"type": "boolean", "default": False},
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
    if "--check" in arguments:
        arguments.remove("--check")
        arguments += ["--check", "yes"]
    while arguments:
        flag, value, arguments = arguments[0], arguments[1], arguments[2:]
        if flag == "--input":
            port, path = value.split("=", 1)
            inputs[port] = path
        else:
            options[flag] = value
    with open(options["--config"]) as handle:
        config = json.load(handle)
    if "--check" in options:
        if config["fail_check"]:
            event(event="error", message="fail_check: is wrong", exit_code=2)
            return 2
        takes = {"model": {"sequence_length": {"at_most": config["at_most"], "because": "it has few"}}}
        print(json.dumps({
            "gives": {"model": {"sequence_length": config["length"]}},
            "takes": takes if config["at_most"] is not None else {},
        }))
        return 0
    if config["log"]:
        with open(config["log"], "a") as handle:
            handle.write(config["text"] + "\n")
    scratch = options["--scratch"]
    if config["damaged_scratch"] and os.path.exists(os.path.join(scratch, "damage")):
        event(event="error", message="the scratch folder is damaged", exit_code=5)
        return 5
    if config["fail_with"] is not None:
        event(event="error", message="asked to fail; ask for something else", exit_code=config["fail_with"])
        return config["fail_with"]
    if config["flaky"]:
        tries = os.path.join(scratch, "tries")
        with open(tries, "a") as handle:
            handle.write(".")
        if os.path.getsize(tries) <= config["flaky"]:
            event(event="error", message="not yet", exit_code=4)
            return 4
    text = ""
    if "model" in inputs:
        with open(os.path.join(inputs["model"], "text.txt")) as handle:
            text = handle.read()
    if config["file"]:
        with open(config["file"]) as handle:
            text += handle.read()
    if config["folder"]:
        for name in sorted(os.listdir(config["folder"])):
            if name.endswith(".txt"):
                with open(os.path.join(config["folder"], name)) as handle:
                    text += handle.read()
    if config["steps"]:
        event(event="start", task="folding", total=config["steps"], unit="steps")
    for step in range(config["steps"]):
        done = os.path.join(scratch, str(step))
        if not os.path.exists(done):
            time.sleep(config["seconds"])
            with open(done + ".partial", "w") as handle:
                handle.write(config["text"])
            os.rename(done + ".partial", done)
        with open(done) as handle:
            text += handle.read()
        event(event="progress", task="folding", done=step + 1, total=config["steps"], unit="steps", message="")
    if config["steps"] == 0:
        text += config["text"]
    output = options["--output"]
    os.makedirs(output, exist_ok=True)
    with open(os.path.join(output, "text.txt"), "w") as handle:
        handle.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
