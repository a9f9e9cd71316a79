"""Loads models that pft saved with transformers, adapters with peft, and compares their logits.

    python tests/reference/saved_families.py FOLDER...

FOLDER holds `base` (a model's folder), `fixture.safetensors` (made by families.py or gradients.py) and,
where the fixture is of an adapted model, `adapter`. Fails where a weight is missing or left over, or
where a logit is off by more than 1e-5 of the largest.
"""

import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM


def check(folder):
    model, info = AutoModelForCausalLM.from_pretrained(
        folder / "base", dtype=torch.float32, attn_implementation="eager", output_loading_info=True
    )
    found = {kind: sorted(names) for kind, names in info.items() if names}
    assert not found, f"{folder.name}, {transformers.__version__}: {found}"
    if (folder / "adapter").is_dir():
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, folder / "adapter")
    model.eval()
    with safe_open(folder / "fixture.safetensors", "pt") as fixture, torch.no_grad():
        sequences = json.loads(fixture.metadata()["sequences"])
        for index, ids in enumerate(sequences):
            logits = fixture.get_tensor(f"logits/{index}")
            found = model(torch.tensor([ids])).logits.reshape(logits.shape)
            off = ((found - logits).abs().max() / logits.abs().max()).item()
            assert off <= 1e-5, f"{folder.name}, {transformers.__version__}, sequence {index}: {off}"


if __name__ == "__main__":
    assert sys.argv[1:], __doc__
    for argument in sys.argv[1:]:
        check(Path(argument))
