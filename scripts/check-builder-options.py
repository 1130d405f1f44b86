#!/usr/bin/env python3
"""Compares what options of ModelBuilder make with what they make in onnxruntime-genai's own builder.

usage: check-builder-options.py MODEL_DIR [CASE ...] [--olive BINARY]

MODEL_DIR is a Hugging Face folder, for example one of tests/fixtures/models. Needs torch, transformers, onnx and
onnxruntime-genai (made with 2.15.0, 5.23.0, 1.23.2 and 0.18.0), and the binary (default target/release/olive, or the one
in cargo's target folder). Per case: names, types and shapes of inputs and outputs, the initializers by SHA-256, the
nodes with their operators, inputs and outputs, and genai_config.json. Prints one line per case and every difference.
Exit code 1 if something differs that has no line in `INTENDED`; the window of a model without `layer_types`, which the
reference loses, is one of these differences.
"""
import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

PROVIDERS = {
    "cpu": ("cpu", "CPUExecutionProvider"),
    "cuda": ("gpu", "CUDAExecutionProvider"),
    "dml": ("gpu", "DmlExecutionProvider"),
    "webgpu": ("gpu", "WebGpuExecutionProvider"),
    "NvTensorRtRtx": ("gpu", "NvTensorRTRTXExecutionProvider"),
}

# name: precision, provider, options as Olive's pass has them, `extra_options`
CASES = {
    "prune": ("int4", "cpu", {}, {"prune_lm_head": True}),
    "prune-fp32": ("fp32", "cpu", {}, {"prune_lm_head": True}),
    "hidden": ("int4", "cpu", {"include_hidden_states": True}, {}),
    "hidden-1": ("int4", "cpu", {}, {"include_hidden_states": 1}),
    "no-embeds": ("int4", "cpu", {"exclude_embeds": True}, {}),
    "no-head": ("int4", "cpu", {"exclude_lm_head": True}, {}),
    "head-in-float": ("int4", "cpu", {"int4_nodes_to_exclude": ["/lm_head/MatMul"]}, {}),
    "embedding-in-float": ("int4", "cpu", {"int4_nodes_to_exclude": ["/model/embed_tokens/Gather"]}, {}),
    "no-both": ("fp32", "cpu", {}, {"exclude_lm_head": True, "exclude_embeds": True}),
    "filename": ("int4", "cpu", {}, {"filename": "text.onnx"}),
    "gather": ("int4", "cpu", {"int4_op_types_to_quantize": ["MatMul", "Gather"]}, {}),
    "dummy": ("int4", "cpu", {"int4_op_types_to_quantize": ["DummyOPType"]}, {}),
    "rtn": ("int4", "cpu", {"int4_algo_config": "rtn"}, {}),
    "rtn_last": ("int4", "cpu", {"int4_algo_config": "rtn_last"}, {}),
    "k_quant": ("int4", "cpu", {"int4_algo_config": "k_quant"}, {}),
    "k_quant_last": ("int4", "cpu", {"int4_algo_config": "k_quant_last"}, {}),
    "k_quant_mixed": ("int4", "cpu", {"int4_algo_config": "k_quant_mixed"}, {}),
    "k_quant_linear": ("int4", "cpu", {"int4_algo_config": "k_quant_linear"}, {}),
    "inside": ("int4", "cpu", {}, {"int4_algo_config": "rtn", "int4_block_size": 16, "int4_accuracy_level": 1}),
    "beside": ("int4", "cpu", {"int4_algo_config": "rtn", "int4_block_size": 16, "int4_accuracy_level": 1}, {}),
    "asymmetric": ("int4", "cpu", {"int4_is_symmetric": False}, {}),
    "int8": ("int8", "cpu", {}, {}),
    "cuda-graph": ("int4", "cuda", {"enable_cuda_graph": True}, {}),
    "cuda-graph-inside": ("fp16", "cuda", {}, {"enable_cuda_graph": "1"}),
    "cuda": ("int4", "cuda", {}, {}),
    "cuda-bf16": ("int4", "cuda", {"use_cuda_bf16": True}, {}),
    "dml": ("int4", "dml", {}, {}),
    "dml-fp16": ("fp16", "dml", {}, {}),
    "webgpu": ("int4", "webgpu", {}, {}),
    "webgpu-fp16": ("fp16", "webgpu", {}, {}),
    "webgpu-fp32": ("int4", "webgpu", {"use_webgpu_fp32": True}, {}),
    "trt": ("int4", "NvTensorRtRtx", {}, {}),
    "trt-fp16": ("fp16", "NvTensorRtRtx", {}, {}),
    "config-only": ("int4", "cpu", {}, {"config_only": True}),
    "trt-cuda-graph": ("fp16", "NvTensorRtRtx", {"enable_cuda_graph": True}, {}),
}
# Differences by case, of tied models where it says so.
INTENDED = {
    "head-in-float": ("tied", "a head that stays float shares its matrix with the embedding, which loses nothing"),
    "dummy": ("tied", "the operators that are named are those that are quantised; the reference adds MatMul and Gather"),
    "asymmetric": ("tied", "the reference keeps the float head beside its codes, and its embedding has no zero points"),
    "trt": ("tied", "the reference does not build such a model: its QDQ has no Gather"),
}
ODD_BLOCKS = "cannot reshape array"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("cases", nargs="*")
    parser.add_argument("--olive", type=pathlib.Path)
    arguments = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    olive = arguments.olive or target / "release/olive"
    failed = 0
    for name in arguments.cases or CASES:
        with tempfile.TemporaryDirectory() as folder:
            failed += not case(name, arguments.model.resolve(), pathlib.Path(folder), olive)
    sys.exit(failed > 0)


def case(name, model, folder, olive):
    precision, provider, options, extra = CASES[name]
    ours, theirs = folder / "ours", folder / "theirs"
    try:
        build_ours(olive, model, precision, provider, options, extra, ours, folder)
        mine = None
    except RuntimeError as error:
        mine = str(error)
    try:
        build_theirs(model, precision, provider, options, extra, theirs, folder)
        other = None
    except Exception as error:  # whatever the builder stumbles over
        other = f"{type(error).__name__}: {error}"
    tied = json.loads((model / "config.json").read_text()).get("tie_word_embeddings", True)
    when, why = INTENDED.get(name, (None, None))
    intended = why if when == "tied" and tied else None
    if other and not mine and (intended or ODD_BLOCKS in other):
        print(f"{name}: intended: {intended or 'rows of an odd number of blocks; the reference fails'}")
        return True
    if mine or other:
        print(f"{name}: ours {mine or 'builds'}; theirs {other or 'builds'}")
        return bool(mine) == bool(other)
    file = extra.get("filename", "model.onnx")
    # Large files are links into the cache, which this library takes for an attack.
    ours = pathlib.Path(shutil.copytree(ours, folder / "copy"))
    lines = list(compare(describe(ours, file), describe(theirs, file)))
    others = [line for line in lines if "sliding_window" not in line and not only_window(line)]
    if lines and not others:
        print(f"{name}: the same but for the window, which is intended", flush=True)
        return True
    if others and intended:
        print(f"{name}: intended: {intended}", flush=True)
        return True
    lines = others
    print(f"{name}: {'the same' if not lines else ''}", flush=True)
    for line in lines:
        print("   ", line)
    return not lines


def only_window(line):
    """Whether two attention nodes differ in their window alone."""
    parts = line.split(": ours ", 1)[-1].split(", theirs ", 1)
    if len(parts) < 2 or "GroupQueryAttention" not in line:
        return False
    without = [re.sub(r"\('local_window_size', -?\d+\)(, )?", "", part) for part in parts]
    return without[0] == without[1]


def build_ours(olive, model, precision, provider, options, extra, out, folder):
    device, long = PROVIDERS[provider]
    builder = {"type": "ModelBuilder", "precision": precision, **options}
    if extra:
        builder["extra_options"] = extra
    config = {
        "input_model": {"type": "HfModel", "model_path": str(model)},
        "systems": {"t": {"type": "LocalSystem", "accelerators": [{"device": device, "execution_providers": [long]}]}},
        "target": "t",
        "passes": {"builder": builder},
        "output_dir": str(out),
        "cache_dir": str(folder / "cache"),
    }
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    done = subprocess.run([olive, "run", "--config", path], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-400:])


def build_theirs(model, precision, provider, options, extra, out, folder):
    from onnxruntime_genai.models import builder

    arguments = (None, str(model), str(out), precision, provider, str(folder / "builder"))
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        given = builder.parse_extra_options(*arguments, [*spelled({**options, **extra})])
        builder.create_model(*arguments, **given)


# Olive's names for options, and what the builder calls them by now.
NAMES = {
    "int4_block_size": "block_size",
    "int4_accuracy_level": "accuracy_level",
    "int4_is_symmetric": "is_symmetric",
    "int4_op_types_to_quantize": "op_types_to_quantize",
    "int4_nodes_to_exclude": "nodes_to_exclude",
    "int4_algo_config": "algo_config",
}
WIDTHS = {
    "_last": "last_matmul:int8",
    "_mixed": "last_matmul:int8,mixed_layers:int8",
    "_linear": "last_matmul:int8,linear_attn:int8",
}


def spelled(options):
    """As on the builder's command line."""
    for key, value in options.items():
        if key == "int4_algo_config":
            for suffix, widths in WIDTHS.items():
                if value.endswith(suffix):
                    value = value.removesuffix(suffix)
                    yield f"matmul_mixed_precision={widths}"
        if isinstance(value, list):
            value = "/".join(value)
        yield f"{NAMES.get(key, key)}={value}"


def describe(folder, file):
    import onnx

    path = folder / file
    config = json.loads((folder / "genai_config.json").read_text())
    if not path.is_file():
        return {"genai_config": dict(flat(config))}
    model = onnx.load(path)
    kind = onnx.TensorProto.DataType.Name

    def value(info):
        tensor = info.type.tensor_type
        dims = [dim.dim_param or dim.dim_value for dim in tensor.shape.dim]
        return f"{kind(tensor.elem_type)} {dims}"

    def bytes_of(tensor):
        return tensor.raw_data or onnx.numpy_helper.to_array(tensor).tobytes()

    def nodes(graph):
        for node in graph.node:
            attributes = {}
            for a in node.attribute:
                got = onnx.helper.get_attribute_value(a)
                if isinstance(got, onnx.GraphProto):
                    yield from nodes(got)
                elif isinstance(got, onnx.TensorProto):
                    attributes[a.name] = hashlib.sha256(bytes_of(got)).hexdigest()[:12]
                else:
                    attributes[a.name] = [round(x, 6) if isinstance(x, float) else x for x in got] if isinstance(got, list) else got
            yield node.name, f"{node.op_type} {list(node.input)} {list(node.output)} {sorted(attributes.items())}"

    graph = model.graph
    return {
        "inputs": {info.name: value(info) for info in graph.input},
        "outputs": {info.name: value(info) for info in graph.output},
        "initializers": {
            tensor.name: f"{kind(tensor.data_type)} {list(tensor.dims)} {hashlib.sha256(bytes_of(tensor)).hexdigest()[:12]}"
            for tensor in graph.initializer
        },
        "nodes": dict(nodes(graph)),
        "genai_config": dict(flat(config)),
    }


def flat(value, path=""):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}/{key}")
        if not value:
            yield path, {}
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for place, inner in enumerate(value):
            yield from flat(inner, f"{path}/{place}")
    else:
        yield path, value


def compare(ours, theirs):
    for part in ours:
        for key in [*theirs[part], *(key for key in ours[part] if key not in theirs[part])]:
            mine, other = ours[part].get(key), theirs[part].get(key)
            if mine != other:
                yield f"{part} {key}: ours {mine}, theirs {other}"


main()
