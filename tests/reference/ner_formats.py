"""Writes the weights of tests/fixtures/ner/transformer/ in the other forms that pft-ner reads: PyTorch's, and ONNX
by both of torch's exporters and as published files vary. What the models answer is in expected.json there;
where their weights are rounded to 16 bits, it is written beside the file.

    python tests/reference/ner_formats.py        # rewrites tests/fixtures/ner/formats/
"""

import json
import shutil
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer
from transformers import AutoModelForTokenClassification

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ner"
OUT = FIXTURES / "formats"

# Name, checkpoint, exporter and its options, and what is done to the file.
CASES = [
    ("bert", "bert", dict(opset_version=14), None),
    # Optimum's form for large models: the numbers in a file of their own.
    ("roberta-external", "roberta", dict(opset_version=17), "external"),
    # Matrices keep their names, and the graph transposes them.
    ("xlm-roberta-unfolded", "xlm-roberta", dict(opset_version=17, do_constant_folding=False), None),
    ("distilbert-dynamo", "distilbert", dict(dynamo=True), None),
    ("deberta-v3-dynamo", "deberta-v3", dict(dynamo=True), None),
    ("distilbert-fp16", "distilbert", dict(opset_version=17), "fp16"),
    ("distilbert-int8", "distilbert", dict(opset_version=17), "int8"),
]


def load(checkpoint):
    return AutoModelForTokenClassification.from_pretrained(
        FIXTURES / "transformer" / checkpoint, attn_implementation="eager").eval()


def export(model, path, dynamo=False, **options):
    ids = torch.arange(5, 12)[None]
    inputs = dict(input_ids=ids, attention_mask=torch.ones_like(ids))
    if model.config.model_type == "bert":
        inputs["token_type_ids"] = torch.zeros_like(ids)
    names = dict(input_names=list(inputs), output_names=["logits"])
    if dynamo:
        axes = {0: torch.export.Dim("batch", min=1, max=64),
                1: torch.export.Dim("sequence", min=2, max=128)}
        torch.onnx.export(model, (), path, kwargs=inputs, dynamo=True, external_data=False,
                          dynamic_shapes={name: axes for name in inputs}, **names, **options)
    else:
        axes = {name: {0: "batch", 1: "sequence"} for name in [*inputs, "logits"]}
        torch.onnx.export(model, (inputs,), path, dynamo=False, dynamic_axes=axes, **names, **options)
    model = onnx.load(path)
    # Where in Python each node comes from, and the shapes between: more than the rest together.
    for part in [model.graph, *model.graph.node]:
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("value_info")
    onnx.save(model, path)


def halved(path):
    """Stores the floats in 16 bits, which is all of a graph in 16 bits that its weights show."""
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(tensor).astype("float16")
            tensor.CopyFrom(onnx.numpy_helper.from_array(half, tensor.name))
    onnx.save(model, path)


def answers(checkpoint, model):
    """The fixture's logits by another model of its family."""
    cases = json.load(open(FIXTURES / "transformer" / checkpoint / "expected.json"))
    tokenizer = Tokenizer.from_file(str(FIXTURES / "transformer" / checkpoint / "tokenizer.json"))
    for case in cases:
        ids = torch.tensor([tokenizer.encode(case["text"]).ids])
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, 1:-1]
        case["logits"] = [round(float(x), 6) for x in logits.flatten()]
        del case["offsets"], case["entities"]
    return cases


def main():
    warnings.filterwarnings("ignore")
    shutil.rmtree(OUT, ignore_errors=True)
    pytorch = OUT / "deberta-v3-pytorch"
    pytorch.mkdir(parents=True)
    torch.save(load("deberta-v3").state_dict(), pytorch / "pytorch_model.bin")
    for name, checkpoint, options, form in CASES:
        folder = OUT / name
        folder.mkdir(parents=True)
        path = str(folder / "model.onnx")
        model = load(checkpoint)
        export(model, path, **options)
        if form == "external":
            onnx.save(onnx.load(path), path, save_as_external_data=True, location="model.onnx_data",
                      size_threshold=0)
        if form == "fp16":
            halved(path)
            with open(folder / "expected.json", "w") as file:
                json.dump(answers(checkpoint, model.half().float()), file, ensure_ascii=False)
        if form == "int8":
            quantize_dynamic(path, path, weight_type=QuantType.QInt8)
        print(name, [(file.name, file.stat().st_size) for file in sorted(folder.iterdir())])


if __name__ == "__main__":
    main()
