"""Times training steps, with and without differential privacy, beside PyTorch's libraries.

    python3 -m benches.train --works w1 --steps 5
"""

import os
from functools import partial

from benches.harness import options
from benches.harness.bench import measure
from benches.harness.measure import Sample, System, sample
from benches.harness.paths import EXAMPLES, python
from benches.harness.process import KEPT_PAGES, run

from .shapes import CPU_WORKS, LENGTH, WORKS


def main() -> None:
    arguments = options.parse(__doc__, CPU_WORKS, steps=3, rounds=3)
    made = [system for work in arguments.works for system in systems(work, arguments)]
    measure("train", made, arguments)


def systems(work: str, arguments) -> list[System]:
    """pft and every peer, without privacy and with it."""
    library = "peft" if WORKS[work].lora else "transformers"
    peers = [
        (f"{library} on PyTorch", False, "torch_step", []),
        ("Opacus per sample", True, "opacus_step", ["hooks"]),
        ("Opacus ghost", True, "opacus_step", ["ghost"]),
    ]
    if os.environ.get("FASTDP_CHECKOUT"):
        peers.append(("fastDP automatic", True, "fastdp_step", ["automatic"]))
        peers.append(("fastDP Abadi", True, "fastdp_step", ["Abadi"]))
    made = [
        System(work, "pft", partial(own, "step_bench", work, arguments)),
        System(work, "pft", partial(own, "private_step_bench", work, arguments), private=True),
    ]
    for name, private, module, more in peers:
        for suffix, environment in (("", {}), (", kept pages", KEPT_PAGES)):
            step = partial(peer, module, [work, *more], arguments, environment)
            made.append(System(work, name + suffix, step, private))
    for system in made:
        system.amount = WORKS[work].batch * LENGTH
    return made


def own(example: str, work: str, arguments, more: list[str] = ()) -> Sample:
    command = [EXAMPLES / example, work, "--steps", arguments.steps, "--json", *more]
    return sample(run(command, arguments.threads))


def peer(module: str, words: list[str], arguments, environment: dict) -> Sample:
    command = [python("train"), "-m", f"benches.train.{module}", *words, arguments.steps]
    return sample(run(command, arguments.threads, environment))


if __name__ == "__main__":
    main()
