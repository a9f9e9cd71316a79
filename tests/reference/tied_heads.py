"""What transformers takes for the head of a model whose config ties it to the embedding.

    python tests/reference/tied_heads.py FOLDER...

prints a line for each folder: `embedding` or `own`, by the tensors in its model.safetensors.
"""

import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

for folder in sys.argv[1:]:
    tensors = load_file(f"{folder}/model.safetensors")
    names = ["model.embed_tokens.weight", "transformer.wte.weight"]
    embedding = next(tensors[name] for name in names if name in tensors)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    head = model.get_output_embeddings().weight
    if torch.equal(head, embedding):
        print("embedding")
    elif torch.equal(head, tensors["lm_head.weight"]):
        print("own")
    else:
        print("neither")
