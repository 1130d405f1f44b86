#!/usr/bin/env python3
"""Compares what `olive` makes of every model family with what the Python tools make of it.

usage: check-families.py [NAME ...] [--olive BINARY] [--write]

NAME is a folder in tests/fixtures/models, or one in the reference material (goldens/models in OLIVE_SHARED,
default ../shared); without names, all of both. Needs torch, transformers, onnx, onnxruntime and onnxruntime-genai
(made with 2.15.0, 5.23.0, 1.23.2, 1.32.0 and 0.18.0), and the binary (default target/release/olive, or the one in
cargo's target folder). Per family:

* int4: the initializers, nodes and genai_config.json of onnxruntime-genai's own builder against ours. Four families it
  cannot build as it is; what it then needs is put right in memory (`repaired`). Families it does not know are compared
  with onnxruntime's quantiser run on our fp32 graph. Differences that are intended have a line in `INTENDED`.
* fp32, int4: the tokens of onnxruntime-genai on our folder against those of `olive generate` on the same folder; for fp32
  also those of transformers, and the logits after each prompt.
* fp16 for CUDA and DirectML: the logits of these graphs on onnxruntime's CPU kernels against those of transformers, as far
  as these kernels exist (not for norms on queries and keys per head inside of CUDA's attention).
* With `--write`, int4.json in the fixture's folder: type, shape and SHA-256 of the reference's int4 initializers, which
  tests/models/families.rs compares with ours. Written only where nothing differs.

Prints one line per family, and every difference. Exit code 1 if something differs.
"""
import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import warnings

ROOT = pathlib.Path(__file__).resolve().parent.parent
FIXTURES = ROOT / "tests/fixtures/models"
NEW_TOKENS = 24
# More than one window, and for LongRoPE one that passes the original context of 32 while generating and one beyond it.
PROMPTS = [1, 6, 13, 28, 44]
# onnxruntime-genai computes a sequence again with the long factors at this length, whatever the model says.
GENAI_SWITCH = 4096
INTENDED = {
    "window": "a window without `layer_types` is lost in the reference, and its genai_config.json has an empty section",
    "cache": "the reference keeps the window's positions only; ours keeps all, and needs no section for them",
    "root": "the reference rounds the root that scales Gemma's embeddings to two digits",
    "one": "the reference adds Gemma's one in the checkpoint's type",
}

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--olive", type=pathlib.Path)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    olive = args.olive or find_olive()
    failed = False
    with tempfile.TemporaryDirectory() as temp:
        for name, source in families(args.names):
            check = Check(name, source, pathlib.Path(temp) / name, olive)
            check.run(args.write)
            failed |= bool(check.differences)
            print(check.line(), flush=True)
            for note in dict.fromkeys(check.notes):
                print(f"    intended: {note}")
            for difference in check.differences[:12]:
                print(f"    DIFFERS: {difference}", flush=True)
            shutil.rmtree(pathlib.Path(temp) / name)
    sys.exit(failed)


def find_olive():
    text = subprocess.run(["cargo", "metadata", "--format-version", "1", "--no-deps", "--offline"], cwd=ROOT, check=True,
                          capture_output=True).stdout
    return pathlib.Path(json.loads(text)["target_directory"]) / "release/olive"


def families(names):
    goldens = pathlib.Path(os.environ.get("OLIVE_SHARED", ROOT / "../shared")) / "goldens/models"
    found = {f"golden-{p.name}": p / "hf" for p in sorted(goldens.glob("*")) if (p / "hf").is_dir()}
    found |= {p.name: p for p in sorted(FIXTURES.iterdir()) if p.is_dir()}
    unknown = [name for name in names if name not in found]
    if unknown:
        sys.exit(f"no model {', '.join(unknown)}; there are {', '.join(found)}")
    return [(name, path) for name, path in found.items() if not names or name in names]


class Check:
    def __init__(self, name, source, work, olive):
        self.name, self.source, self.work, self.olive = name, source, work, olive
        self.config = json.loads((source / "config.json").read_text())
        self.vocab = self.config["vocab_size"]
        self.differences, self.notes, self.cells = [], [], {}

    def run(self, write):
        hf = self.work / "hf"
        self.copy(hf, {})
        ours = {precision: self.build(hf, precision) for precision in ["fp32", "int4"]}
        self.compare_int4(hf, ours, write)
        self.compare_providers(hf)
        prompts = [self.prompt(length) for length in PROMPTS]
        original = self.original_context()
        # What genai cannot do (it would have to compute again at a length that it does not know).
        crosses = [original is not None and len(p) <= original < len(p) + NEW_TOKENS for p in prompts]
        self.compare_tokens(hf, ours, prompts, ["olive" if c else "both" for c in crosses])
        if original is not None:
            # The same weights with factors that change where genai expects it.
            long = self.work / "long"
            self.copy(long, {"original_max_position_embeddings": GENAI_SWITCH, "max_position_embeddings": 2 * GENAI_SWITCH})
            ours = {precision: self.build(long, precision) for precision in ["fp32", "int4"]}
            self.compare_tokens(long, ours, [self.prompt(GENAI_SWITCH - 9), self.prompt(GENAI_SWITCH + 9)], ["both"] * 2)

    def original_context(self):
        rope = self.config.get("rope_parameters") or self.config.get("rope_scaling") or {}
        longrope = rope.get("rope_type", rope.get("type")) in ("longrope", "su")
        return self.config.get("original_max_position_embeddings") if longrope else None

    def copy(self, to, changes):
        """The checkpoint with a tokenizer that writes token 7 as `t7`, so that ids can be given as text."""
        from tokenizers import Tokenizer, models, pre_tokenizers
        to.mkdir(parents=True)
        for file in self.source.glob("*.safetensors"):
            if file.name != "logits.safetensors":
                shutil.copyfile(file, to / file.name)
        config = json.loads(json.dumps(self.config))
        for key, value in changes.items():
            config[key] = value
            if key in (config.get("rope_parameters") or {}):
                config["rope_parameters"][key] = value
        (to / "config.json").write_text(json.dumps(config))
        tokenizer = Tokenizer(models.WordLevel({f"t{i}": i for i in range(self.vocab)}, unk_token="t0"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.save(str(to / "tokenizer.json"))
        eos = config["eos_token_id"]
        special = dict(eos_token=f"t{eos[0] if isinstance(eos, list) else eos}", unk_token="t0")
        (to / "tokenizer_config.json").write_text(json.dumps(special | dict(tokenizer_class="PreTrainedTokenizerFast")))

    def prompt(self, length):
        dice = random.Random(f"{self.name} {length}")
        return [dice.randrange(4, self.vocab) for _ in range(length)]

    def line(self):
        return f"{self.name:20} " + "  ".join(f"{key} {value}" for key, value in self.cells.items())

    def build(self, hf, precision, provider="CPU"):
        out = self.work / f"{hf.name}-{precision}-{provider}"
        config = self.work / "run.json"
        accelerator = {"device": "cpu" if provider == "CPU" else "gpu", "execution_providers": [f"{provider}ExecutionProvider"]}
        config.write_text(json.dumps({
            "input_model": {"type": "HfModel", "model_path": str(hf)},
            "systems": {"here": {"type": "LocalSystem", "accelerators": [accelerator]}}, "target": "here",
            "passes": {"builder": {"type": "ModelBuilder", "precision": precision}},
            "cache_dir": str(self.work / "cache"), "output_dir": str(out)}))
        self.call("run", "--config", config)
        return out

    def call(self, *arguments):
        done = subprocess.run([self.olive, *arguments], capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{self.name}: olive {arguments[0]} failed: {done.stderr}")
        return done.stdout

    # int4 against the reference

    def compare_int4(self, hf, ours, write):
        reference = self.work / "reference"
        how = self.reference_build(hf, reference)
        got = Graph(ours["int4"])
        want = Graph(reference) if how != "none" else Graph.quantised(ours["fp32"])
        plus_one = self.config["model_type"].startswith("gemma")
        names = got.tensors.keys() | want.tensors.keys()
        equal = 0
        for name in sorted(names):
            a, b = got.tensors.get(name), want.tensors.get(name)
            if a is None or b is None:
                self.differences.append(f"initializer {name} is only in {'ours' if b is None else 'the reference'}")
            elif a == b:
                equal += 1
            elif plus_one and name.endswith("norm.weight") and same_in_bf16(a, b):
                self.notes.append(INTENDED["one"])
            else:
                self.differences.append(f"initializer {name}: {a.describe(b)}")
        self.cells["int4"] = f"{equal}/{len(names)} initializers equal"
        if how == "none":
            self.cells["reference"] = "quantiser only"
        else:
            before = len(self.differences)
            self.compare_nodes(got, want)
            self.compare_config(ours["int4"], reference)
            self.cells["graph"] = "equal" if len(self.differences) == before else "differs"
            self.cells["reference"] = how
        if write and not self.differences and self.source.parent == FIXTURES:
            skip = {n for n in names if plus_one and n.endswith("norm.weight")}
            table = {n: t.fingerprint() for n, t in sorted(want.tensors.items()) if n not in skip}
            rows = ",\n".join(f"{json.dumps(n)}: {json.dumps(row)}" for n, row in table.items())
            (self.source / "int4.json").write_text(f"{{\n{rows}\n}}\n")

    def reference_build(self, hf, out):
        """`built`, `repaired`, or `none` for a family that the reference does not know."""
        from onnxruntime_genai.models import builder
        how = "built"
        for repaired in [False, True]:
            log = io.StringIO()
            try:
                with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                    arguments = (None, str(hf), str(out), "int4", "cpu", str(self.work / "cache"))
                    options = builder.parse_extra_options(*arguments, [])
                    if repaired:
                        repair(options["hf_details"]["hf_config"], builder)
                    builder.create_model(*arguments, **options)
                return how
            except NotImplementedError:
                return "none"
            except KeyError as error:
                how = f"repaired (KeyError {error})"
        sys.exit(f"{self.name}: the reference cannot be repaired: {log.getvalue()}")

    def compare_nodes(self, got, want):
        root = self.config["hidden_size"] ** 0.5
        if self.config["model_type"].startswith("gemma") and root != round(root, 2):
            self.notes.append(INTENDED["root"])
            constant = "/model/constant_nodes/FLOAT/"
            got.nodes.pop(f"{constant}{root}", None)
            want.nodes.pop(f"{constant}{round(root, 2)}", None)
            scale = want.nodes["/model/embed_tokens/Mul"]
            scale["inputs"] = [name.replace(str(round(root, 2)), str(root)) for name in scale["inputs"]]
        for key in sorted(got.nodes.keys() | want.nodes.keys()):
            a, b = got.nodes.get(key), want.nodes.get(key)
            if a is None or b is None:
                self.differences.append(f"node {key} is only in {'ours' if b is None else 'the reference'}")
                continue
            for part in sorted(a.keys() | b.keys()):
                if a.get(part) == b.get(part):
                    continue
                if part == "sliding_window_cache" and part not in a:
                    self.notes.append(INTENDED["cache"])
                elif part == "local_window_size" and b[part] == -1 and "layer_types" not in self.config:
                    self.notes.append(INTENDED["window"])
                else:
                    self.differences.append(f"node {key}: {part} is {a.get(part)} instead of {b.get(part)}")
        for a, b, what in [(got.inputs, want.inputs, "inputs"), (got.outputs, want.outputs, "outputs")]:
            widened = [(n, t, [d.replace("_sliding_", "_sequence_") for d in dims]) for n, t, dims in b]
            if b != widened:
                self.notes.append(INTENDED["cache"])
            if a != widened:
                self.differences.append(f"{what} are {a} instead of {b}")

    def compare_config(self, ours, reference):
        got, want = (json.loads((d / "genai_config.json").read_text()) for d in (ours, reference))
        section = want["model"]["decoder"].pop("sliding_window", None)
        if section:
            self.notes.append(INTENDED["cache" if section["layers"] else "window"])
        for path in sorted(flat(got).keys() | flat(want).keys()):
            a, b = flat(got).get(path), flat(want).get(path)
            if a != b:
                self.differences.append(f"genai_config.json: {path} is {a} instead of {b}")

    # Graphs for other providers

    def compare_providers(self, hf):
        import numpy
        import onnxruntime
        ids = numpy.array([self.prompt(PROMPTS[-1])])
        want = Transformers(hf).logits(ids)
        per_head = self.config["model_type"] in ("qwen3", "gemma3_text", "exaone4")
        for provider in ["CUDA", "Dml"][per_head:]:
            folder = self.build(hf, "fp16", provider)
            session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
            decoder = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
            empty = numpy.zeros((1, decoder["num_key_value_heads"], 0, decoder["head_size"]), numpy.float16)
            known = dict(input_ids=ids, attention_mask=numpy.ones_like(ids), position_ids=numpy.arange(ids.size)[None])
            feed = {i.name: known.get(i.name, empty) for i in session.get_inputs()}
            got = session.run(["logits"], feed)[0].astype(numpy.float32)
            difference = abs(got - want).max() / want.std()
            self.cells[provider] = f"{difference:.0e} of std"
            if difference > 0.03:
                self.differences.append(f"fp16 for {provider}: logits differ by {difference} of their deviation")

    # Generation

    def compare_tokens(self, hf, ours, prompts, with_whom):
        for precision, folder in ours.items():
            genai = Genai(folder)
            float_model = Transformers(hf) if precision == "fp32" else None
            equal, kinds, logits = 0, set(), 0.0
            for prompt, against in zip(prompts, with_whom):
                text = " ".join(f"t{i}" for i in prompt)
                answer = json.loads(self.call("generate", folder, "--raw", "--json", "--quiet", "--temperature", "0",
                                              "--max-new-tokens", str(NEW_TOKENS), "--prompt", text))
                assert answer["prompt_ids"] == prompt
                mine = answer["ids"]
                answers = {"olive": mine}
                if against == "both":
                    answers["genai"], theirs = genai.greedy(prompt)
                if float_model:
                    answers["transformers"], want = float_model.greedy(prompt)
                    if against == "both":
                        logits = max(logits, abs(theirs - want).max().item())
                equal += all(ids == mine for ids in answers.values())
                kinds |= set(mine)
                for who, ids in answers.items():
                    if ids != mine:
                        self.differences.append(f"{precision}, {len(prompt)} tokens: olive says {mine}, {who} {ids}")
            key = f"tokens-{precision}" + ("-4k" if hf.name == "long" else "")
            self.cells[key] = f"{equal}/{len(prompts)} ({len(kinds)} kinds)"
            if float_model:
                self.cells[key] += f", logits {logits:.0e}"
                if logits > (1e-4):
                    self.differences.append(f"{precision}: logits in genai differ by {logits}")


class Tensor:
    def __init__(self, proto, folder):
        import onnx
        self.type, self.dims = proto.data_type, list(proto.dims)
        self.array = onnx.numpy_helper.to_array(proto, base_dir=str(folder))
        self.bytes = self.array.tobytes()

    def __eq__(self, other):
        return (self.type, self.dims, self.bytes) == (other.type, other.dims, other.bytes)

    def describe(self, other):
        if (self.type, self.dims) != (other.type, other.dims):
            return f"type {self.type} {self.dims} instead of {other.type} {other.dims}"
        a, b = self.array.astype("float64").ravel(), other.array.astype("float64").ravel()
        return f"{(a != b).sum()} of {a.size} values, by at most {abs(a - b).max():.3e}"

    def fingerprint(self):
        return [self.type, self.dims, hashlib.sha256(self.bytes).hexdigest()]


def same_in_bf16(a, b):
    import torch
    rounded = [torch.tensor(t.array).to(torch.bfloat16) for t in (a, b)]
    return torch.equal(*rounded)


class Graph:
    """Tensors and nodes by name, nodes inside of branches included."""

    def __init__(self, folder, model=None):
        import onnx
        if model is None:
            model = onnx.load(folder / "model.onnx", load_external_data=False)
        self.tensors = {t.name: Tensor(t, folder) for t in model.graph.initializer}
        self.nodes = {}
        self.add(model.graph.node, folder)
        self.inputs, self.outputs = ([describe(v) for v in values] for values in (model.graph.input, model.graph.output))

    def add(self, nodes, folder):
        import onnx
        for node in nodes:
            facts = dict(op=(node.domain, node.op_type), inputs=list(node.input), outputs=list(node.output))
            for attribute in node.attribute:
                value = onnx.helper.get_attribute_value(attribute)
                if isinstance(value, onnx.GraphProto):
                    self.add(value.node, folder)
                    value = [o.name for o in value.output]
                elif isinstance(value, onnx.TensorProto):
                    tensor = Tensor(value, folder)
                    if node.output[0].startswith(("cos_cache", "sin_cache")):
                        self.tensors[node.output[0]] = tensor
                        value = "a table"
                    else:
                        value = (tensor.type, tensor.dims, tensor.bytes)
                facts[attribute.name] = value
            self.nodes[node.name] = facts

    @staticmethod
    def quantised(folder):
        """The float graph as onnxruntime's quantiser rewrites it."""
        import onnx
        from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
        quantiser = MatMulNBitsQuantizer(onnx.load(folder / "model.onnx"), block_size=32, is_symmetric=True, accuracy_level=4)
        quantiser.process()
        return Graph(folder, quantiser.model.model)


def describe(value):
    kind = value.type.tensor_type
    return value.name, kind.elem_type, [d.dim_param or str(d.dim_value) for d in kind.shape.dim]


def flat(value, path=""):
    if isinstance(value, dict) and value:
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{path}/{key}").items()}
    return {path: value}


def repair(config, builder):
    """What the reference trips over, put right in memory."""
    rope = getattr(config, "rope_parameters", None) or {}
    if "full_attention" in rope:  # Gemma-3: one set of parameters per kind of layer.
        config.rope_local_base_freq = rope["sliding_attention"]["rope_theta"]
        config.rope_theta = rope["full_attention"]["rope_theta"]
        config.rope_parameters = dict(rope["full_attention"])
    elif "type" not in rope and rope.get("rope_type") == "longrope":  # Phi-3: the old name of the key.
        config.rope_parameters["type"] = rope["rope_type"]
    if config.model_type == "smollm3":  # A layer without rotation is taken for one with nodes of its own for it.
        model = builder.SmolLM3Model
        original = model.make_attention_qk_rope

        def make_attention_qk_rope(self, layer_id, **kwargs):
            if not self.no_rope_layers[layer_id]:
                return "", ""
            return original(self, layer_id, **kwargs)

        model.make_attention_qk_rope = make_attention_qk_rope


class Genai:
    def __init__(self, folder):
        import onnxruntime_genai
        self.og = onnxruntime_genai
        self.model = self.og.Model(str(folder))
        eos = json.loads((folder / "genai_config.json").read_text())["model"]["eos_token_id"]
        self.eos = eos if isinstance(eos, list) else [eos]

    def greedy(self, prompt):
        """New tokens without the one that ends the text, and the logits after the prompt."""
        import numpy
        parameters = self.og.GeneratorParams(self.model)
        parameters.set_search_options(max_length=len(prompt) + NEW_TOKENS, do_sample=False)
        generator = self.og.Generator(self.model, parameters)
        generator.append_tokens(numpy.array(prompt, dtype=numpy.int32))
        logits = numpy.array(generator.get_logits()).reshape(-1)
        while not generator.is_done():
            generator.generate_next_token()
        return until(generator.get_sequence(0)[len(prompt):], self.eos), logits


class Transformers:
    def __init__(self, hf):
        import torch
        from transformers import AutoModelForCausalLM
        from transformers.utils.logging import disable_progress_bar
        disable_progress_bar()
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(hf, dtype=torch.float32, attn_implementation="eager").eval()
        eos = self.model.config.eos_token_id
        self.eos = eos if isinstance(eos, list) else [eos]

    def logits(self, ids):
        with self.torch.no_grad():
            return self.model(self.torch.tensor(ids)).logits.numpy()

    def greedy(self, prompt):
        ids = self.torch.tensor([prompt])
        with self.torch.no_grad():
            logits = self.model(ids).logits[0, -1].numpy()
            out = self.model.generate(ids, attention_mask=self.torch.ones_like(ids), max_new_tokens=NEW_TOKENS,
                                      do_sample=False, pad_token_id=0)
        return until(out[0, len(prompt):].tolist(), self.eos), logits


def until(ids, eos):
    ids = [int(i) for i in ids]
    ends = [n for n, i in enumerate(ids) if i in eos]
    return ids[: ends[0]] if ends else ids


if __name__ == "__main__":
    main()
