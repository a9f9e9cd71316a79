"""Times training steps in bf16 on a GPU, with and without differential privacy, beside PyTorch's
libraries. Needs `cargo build --release -p train --features cuda --examples` and a PyTorch with CUDA.

    python3 -m benches.train.gpu --works g1 --steps 20
"""

from functools import partial

from benches.harness import options
from benches.harness.bench import measure
from benches.harness.measure import System

from .__main__ import own, peer
from .shapes import GPU_WORKS, LENGTH, WORKS


def main() -> None:
    arguments = options.parse(__doc__, GPU_WORKS, steps=20, rounds=3)
    made = [system for work in arguments.works for system in systems(work, arguments)]
    measure("train-gpu", made, arguments)


def systems(work: str, arguments) -> list[System]:
    """pft and every peer, without privacy and with it."""
    words = ["--device", "cuda", "--dtype", "bf16"]
    made = []
    for private in (False, True):
        more = [*words, "--private"] if private else words
        step = partial(own, "device_step_bench", work, arguments, more)
        made.append(System(work, "pft", step, private))
    for name, private, module, more in [
        ("peft on PyTorch", False, "torch_step", []),
        ("Opacus per sample", True, "opacus_step", ["hooks"]),
        ("Opacus ghost", True, "opacus_step", ["ghost"]),
    ]:
        step = partial(peer, module, [work, *more], arguments, {"PFT_BENCH_DEVICE": "cuda"})
        made.append(System(work, name, step, private))
    for system in made:
        system.amount = WORKS[work].batch * LENGTH
    return made


if __name__ == "__main__":
    main()
