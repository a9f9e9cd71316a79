"""A training step of transformers (with peft for LoRA) on PyTorch, AdamW.

    python -m benches.train.torch_step WORK STEPS
"""

import sys

from benches.harness import peer

from .torch_model import adamw, model_and_batch, packages, wait


def main(work: str, steps: int) -> None:
    model, batch = model_and_batch(work)
    optimizer = adamw(model)

    def step():
        optimizer.zero_grad()
        model(**batch, labels=batch["input_ids"]).loss.backward()
        optimizer.step()
        wait()

    peer.finish(peer.timed(step, steps), *packages(work))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
