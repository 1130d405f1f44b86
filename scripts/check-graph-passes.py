#!/usr/bin/env python3
"""Compares OnnxFloatToFloat16 and ExtractAdapters with Olive's own passes on the same graphs.

usage: check-graph-passes.py [--olive BINARY]

Graphs, models and adapters are those of the reference material (OLIVE_SHARED, default ../shared). Needs olive-ai, onnx,
onnxruntime, onnxruntime-genai, torch, peft and safetensors (made with 0.13.0, 1.23.2, 1.32.0, 0.18.0, 2.15.0), and the
binary (default target/release/olive, or the one in cargo's target folder).

* Half precision: initializers by SHA-256, types of inputs and outputs, logits to the last bit, and no more casts than
  Olive's graph has; the tokens of onnxruntime-genai against those of `olive generate`.
* Adapters that the reference's builder left in a float graph: names, values and inputs as Olive has them, and the logits
  of the graph as it was. In an int4 graph: the logits alone, as Olive renames nothing there and gives inputs of codes a
  rank that they have not. Of our ModelBuilder with an adapter: what onnxruntime-genai says with the adapter's file against
  `olive generate`.

Prints one line per case. Exit code 1 if something differs.
"""
import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("OLIVE_SHARED", ROOT.parent / "shared"))
GOLDENS = SHARED / "goldens"
PROMPT = [1, 5, 17, 260, 300, 42, 99, 411, 7, 123]

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

HEAD, ATTENTION = "/lm_head/MatMul", "/model/layers.0/attn/GroupQueryAttention"
NORMS = ["SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization"]
HALF = [
    ("llama/ort-fp32-cpu", {}),
    ("qwen3/ort-fp32-cpu", {}),
    ("phi3/ort-fp32-cpu", {}),
    ("llama/ort-int4-cpu", {}),
    ("phi3-longrope/ort-fp32-cpu", {}),
    ("qwen3/ort-fp32-cpu", {"keep_io_types": True}),
    ("qwen3/ort-fp32-cpu", {"keep_io_types": ["logits"], "min_positive_val": 1e-3, "max_finite_val": 2.0}),
    ("qwen3/ort-fp32-cpu", {"op_block_list": NORMS}),
    ("qwen3/ort-fp32-cpu", {"op_include_list": ["MatMul", "Mul"]}),
    ("llama/ort-fp32-cpu", {"node_block_list": [HEAD, ATTENTION]}),
    ("llama/ort-fp32-cpu", {"node_include_list": ["/model/layers.0/mlp/up_proj/MatMul"], "keep_io_types": True}),
    ("phi3-longrope/ort-fp32-cpu", {"op_block_list": ["GroupQueryAttention"]}),
]
EXTRACT = [
    {},
    {"save_format": "safetensors"},
    {"save_format": "numpy", "dynamic_lora_r": False},
    {"optional_inputs": False},
    {"make_inputs": False},
    {"make_inputs": False, "save_format": "safetensors"},
    {"make_inputs": False, "save_format": "numpy"},
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--olive", type=pathlib.Path)
    arguments = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    olive = arguments.olive or target / "release/olive"
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        cases = [(f"half {model} {options}", half(olive, folder, model, options)) for model, options in HALF]
        for precision in ("fp32", "int4"):
            built = build_with_adapter(folder / f"builder-{precision}", precision)
            for options in EXTRACT:
                cases.append((f"extract {precision} {options}", extract(olive, folder, built, options, precision)))
        cases.append(("extract after ModelBuilder", beside(olive, folder)))
        for name, problems in cases:
            print(f"{name}: {'; '.join(problems) or 'as it should be'}")
            failed += bool(problems)
    sys.exit(failed > 0)


def half(olive, folder, model, options):
    source = GOLDENS / "models" / model
    ours = run(olive, folder, {"type": "ONNXModel", "model_path": str(source)}, [{"type": "OnnxFloatToFloat16", **options}])
    theirs = folder / "theirs"
    by_olive("OnnxFloatToFloat16", {**options, "save_as_external_data": True}, source / "model.onnx", theirs)
    mine, other = describe(ours), describe(theirs)
    problems = [f"{part} differ" for part in ("initializers", "values") if mine[part] != other[part]]
    if mine["casts"] > other["casts"]:
        problems.append(f"{mine['casts']} casts, not {other['casts']}")
    if different(logits(ours, source), logits(theirs, source)):
        problems.append("logits differ")
    if said_by_olive(olive, ours) != said_by_genai(ours):
        problems.append("onnxruntime-genai says something else than `olive generate`")
    return problems


def extract(olive, folder, built, options, precision):
    source = {"type": "ONNXModel", "model_path": str(built)}
    ours = run(olive, folder, source, [{"type": "ExtractAdapters", **options}])
    matrices = weights(ours)
    given = matrices if options.get("make_inputs", True) else {}
    wanted, got = logits(built, built), logits(ours, built, given)
    problems = []
    if precision == "fp32":
        theirs = folder / "theirs"
        by_olive("ExtractAdapters", options, built / "model.onnx", theirs)
        other = weights(theirs)
        if set(matrices) != set(other) or any((matrices[name] != other[name]).any() for name in matrices):
            problems.append("matrices differ")
        if describe(ours)["values"] != describe(theirs, load=False)["values"]:
            problems.append("inputs differ")
        if different(wanted, got):
            problems.append("logits differ")
    # Codes that are no constants are not packed for the kernel that computes in int8.
    elif abs(wanted - got).max() > 0.05 * abs(wanted).max():
        problems.append(f"logits differ by {abs(wanted - got).max()}")
    return problems


def beside(olive, folder):
    model = {
        "type": "HfModel",
        "model_path": str(GOLDENS / "models/llama/hf"),
        "adapter_path": str(GOLDENS / "train/llama/adapter_final"),
    }
    ours = run(olive, folder, model, [{"type": "ModelBuilder", "precision": "fp32"}, {"type": "ExtractAdapters"}])
    problems = []
    if said_by_olive(olive, ours) != said_by_genai(ours, ours / "adapter_weights.onnx_adapter"):
        problems.append("with the adapter onnxruntime-genai says something else")
    if said_by_olive(olive, ours, ["--no-adapter"]) != said_by_genai(ours):
        problems.append("without the adapter onnxruntime-genai says something else")
    return problems


def run(olive, folder, model, passes):
    out = folder / "ours"
    shutil.rmtree(out, ignore_errors=True)
    config = {
        "input_model": model,
        "passes": {f"p{place}": step for place, step in enumerate(passes)},
        "output_dir": str(out),
        "cache_dir": str(folder / "cache"),
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    subprocess.run([olive, "run", "--config", path], capture_output=True, text=True, check=True)
    return out


def by_olive(name, options, graph, out):
    from olive.hardware.accelerator import AcceleratorSpec
    from olive.model import ONNXModelHandler
    from olive.package_config import OlivePackageConfig
    from olive.passes.olive_pass import create_pass_from_dict

    shutil.rmtree(out, ignore_errors=True)
    kind = OlivePackageConfig.load_default_config().import_pass_module(name)
    target = AcceleratorSpec("cpu", "CPUExecutionProvider")
    create_pass_from_dict(kind, options, disable_search=True, accelerator_spec=target).run(ONNXModelHandler(str(graph)), str(out))


def build_with_adapter(out, precision):
    from onnxruntime_genai.models import builder

    model, adapter = GOLDENS / "models/llama/hf", GOLDENS / "train/llama/adapter_final"
    arguments = (None, str(model), str(out), precision, "cpu", f"{out}-cache")
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        builder.create_model(*arguments, **builder.parse_extra_options(*arguments, [f"adapter_path={adapter}"]))
    return out


def describe(folder, load=True):
    import onnx

    model = onnx.load(folder / "model.onnx", load_external_data=load)
    value = lambda info: (
        info.type.tensor_type.elem_type,
        [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim],
    )
    graph = model.graph
    return {
        "initializers": {
            tensor.name: (tensor.data_type, hashlib.sha256(tensor.raw_data).hexdigest()) for tensor in graph.initializer
        },
        "values": {info.name: value(info) for info in [*graph.input, *graph.output]},
        "casts": sum(node.op_type == "Cast" for node in graph.node),
    }


def weights(folder):
    import numpy as np
    import onnxruntime as ort
    from safetensors.numpy import load_file

    [path] = [path for path in folder.iterdir() if path.name.startswith("adapter_weights.")]
    if path.suffix == ".safetensors":
        return load_file(path)
    if path.suffix == ".npz":
        return dict(np.load(path))
    # The arrays are views into it.
    adapter = ort.AdapterFormat.read_adapter(str(path))
    return {name: value.numpy().copy() for name, value in adapter.get_parameters().items()}


def logits(folder, described, more=()):
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    size = json.loads((described / "genai_config.json").read_text())["model"]["decoder"]["head_size"]
    feed = dict(more)
    for value in session.get_inputs():
        if value.name == "input_ids":
            feed[value.name] = np.array([PROMPT])
        elif value.name == "attention_mask":
            feed[value.name] = np.ones((1, len(PROMPT)), np.int64)
        elif value.name.startswith("past"):
            kind = np.float16 if "float16" in value.type else np.float32
            feed[value.name] = np.zeros([1, value.shape[1], 0, size], kind)
    return session.run(["logits"], feed)[0].astype(np.float32)


def different(one, other):
    return one.shape != other.shape or (one != other).any()


def said_by_olive(olive, folder, more=()):
    command = [olive, "generate", "--json", "--quiet", "--raw", "--temperature", "0", "--prompt", "The olive tree"]
    done = subprocess.run([*command, "--max-new-tokens", "16", *more, folder], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["ids"]


def said_by_genai(folder, adapter=None):
    import numpy as np
    import onnxruntime_genai as og
    from tokenizers import Tokenizer

    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("The olive tree").ids
    model = og.Model(str(folder))
    parameters = og.GeneratorParams(model)
    parameters.set_search_options(max_length=len(ids) + 16, do_sample=False)
    generator = og.Generator(model, parameters)
    if adapter:
        adapters = og.Adapters(model)
        adapters.load(str(adapter), "own")
        generator.set_active_adapter(adapters, "own")
    generator.append_tokens(np.array(ids, dtype=np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)[len(ids) :]]


main()
