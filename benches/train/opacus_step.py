"""A step of DP-SGD by Opacus: per-sample gradients (`hooks`) or two passes (`ghost`).

    python -m benches.train.opacus_step WORK hooks|ghost STEPS

All layers are clipped together, at 1; noise multiplier 1. Opacus' engine wants a data loader, which
is not timed: every step gets the same batch.
"""

import sys
import warnings

import torch
from opacus import PrivacyEngine
from torch.utils.data import DataLoader, TensorDataset
from transformers.pytorch_utils import Conv1D

from benches.harness import peer

from .torch_model import adamw, model_and_batch, packages, wait


def main(work: str, mode: str, steps: int) -> None:
    warnings.simplefilter("ignore")
    model, batch = model_and_batch(work)
    linear_layers(model)
    ids = batch["input_ids"]
    module, optimizer, *rest = PrivacyEngine().make_private(
        module=model,
        optimizer=adamw(model),
        criterion=torch.nn.CrossEntropyLoss(),
        data_loader=DataLoader(TensorDataset(ids), batch_size=len(ids)),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
        poisson_sampling=False,
        grad_sample_mode=mode,
    )
    criterion = rest[0] if mode == "ghost" else None
    labels = ids[:, 1:]

    def step():
        optimizer.zero_grad()
        logits = module(**batch).logits[:, :-1]
        if criterion is None:
            loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())
        else:
            loss = criterion(logits.flatten(0, 1), labels.flatten(), shape=logits.shape)
        loss.backward()
        optimizer.step()
        wait()

    peer.finish(peer.timed(step, steps), "opacus", *packages(work))


def linear_layers(model: torch.nn.Module) -> None:
    """GPT-2's Conv1D layers as the linear layers they are: Opacus has fast rules for those only."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Conv1D):
                inputs, outputs = child.weight.shape
                linear = torch.nn.Linear(inputs, outputs)
                linear.weight.data = child.weight.data.t().contiguous()
                linear.bias.data = child.bias.data
                setattr(module, name, linear)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
