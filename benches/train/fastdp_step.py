"""A step of DP-SGD by fastDP, from the checkout that FASTDP_CHECKOUT names.

    python -m benches.train.fastdp_step WORK automatic|Abadi STEPS

`Abadi` runs with origin_params, its fastest setting; `automatic` without.
"""

import os
import sys

sys.path.insert(0, os.environ["FASTDP_CHECKOUT"])

import fastDP  # noqa: E402
from fastDP import transformers_support  # noqa: E402

from benches.harness import peer  # noqa: E402

from .torch_model import adamw, model_and_batch, packages  # noqa: E402


def main(work: str, clipping: str, steps: int) -> None:
    # Its replacement of GPT-2's forward fails on this transformers, and positions are given anyway.
    transformers_support.forward_swapper = lambda module: None
    model, batch = model_and_batch(work)
    optimizer = adamw(model)
    ids = batch["input_ids"]
    origin = None
    if clipping == "Abadi":
        origin = ["wte", "wpe"] if work != "w3" else None
    engine = fastDP.PrivacyEngine(
        model,
        batch_size=len(ids),
        sample_size=1000,
        epochs=1,
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        clipping_fn=clipping,
        clipping_style="all-layer",
        origin_params=origin,
    )
    engine.attach(optimizer)

    def step():
        model(**batch, labels=ids).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    versions = {"fastDP": fastDP.__version__}
    peer.finish(peer.timed(step, steps), *packages(work), other_versions=versions)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
