#!/usr/bin/env python3
"""Compares what an evaluation measures with what transformers and onnxruntime make of the same samples.

usage: check-evaluation.py MODEL_DIR JSONL [--onnx DIR ...] [--rows 40] [--seq 256] [--questions 40]

MODEL_DIR is a Hugging Face folder, DIR an ONNX folder that was built of it; the JSONL file has the columns "Question" and
"Best Answer". Needs torch, transformers and onnxruntime (made with 2.15.0, 5.23.0 and 1.32.0).

* The loss of the float model, on joined rows and on single ones, against transformers in f32: 1e-5, relatively.
* The loss of every ONNX folder against onnxruntime, which runs a whole sample at a time on an empty cache: 1e-5.
* Multiple choice: each question with its answer and those of three other rows. Log-likelihoods as lm-eval computes them
  (context and choice encoded as one text, split where the context's tokens end), with transformers; the number of
  questions whose right choice has the highest one, and the highest one per byte, must be equal but for ties within 1e-4.

Prints a line per comparison. Exit code 1 if something differs.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnxruntime
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
TOLERANCE = 1e-5
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("rows_file", type=pathlib.Path)
    parser.add_argument("--onnx", type=pathlib.Path, nargs="*", default=[])
    parser.add_argument("--rows", type=int, default=40)
    parser.add_argument("--seq", type=int, default=256)
    parser.add_argument("--questions", type=int, default=40)
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    differs = False
    with tempfile.TemporaryDirectory() as temp:
        temp = pathlib.Path(temp)
        for shape in [[], ["--lines"]]:
            common = [args.rows_file, "--rows", args.rows, "--seq", args.seq, *shape]
            ours = evaluate(args.model, *common, "--samples", temp / "samples.json")
            samples = json.loads((temp / "samples.json").read_text())
            case = f"{'rows' if shape else 'joined rows'}, {len(samples)} samples"
            differs |= compare(f"float, {case}", ours, losses(samples, lambda ids: torch_logits(model, ids)))
            for onnx in args.onnx:
                session = onnxruntime.InferenceSession(onnx / "model.onnx", providers=["CPUExecutionProvider"])
                ours = evaluate(onnx, *common)
                differs |= compare(f"{onnx.name}, {case}", ours, losses(samples, lambda ids: onnx_logits(session, ids)))
                del session
        questions = multiple_choice(args.rows_file, args.questions)
        (temp / "choices.jsonl").write_text("".join(json.dumps(q) + "\n" for q in questions))
        ours = evaluate(args.model, args.rows_file, "--rows", 1, "--lines", "--choices", temp / "choices.jsonl")
        differs |= compare_choices(ours, questions, model, AutoTokenizer.from_pretrained(args.model))
    sys.exit(differs)


def evaluate(model, *arguments):
    command = ["cargo", "bench", "--quiet", "--bench", "evaluate", "--", model, *arguments]
    run = subprocess.run([str(word) for word in command], cwd=ROOT, check=True, capture_output=True)
    return json.loads(run.stdout.splitlines()[-1])


def losses(samples, logits_of):
    total, count = 0.0, 0
    for ids in samples:
        logits = torch.log_softmax(logits_of(ids)[:-1].double(), -1)
        total -= logits.gather(1, torch.tensor(ids[1:])[:, None]).sum().item()
        count += len(ids) - 1
    return total, count


def torch_logits(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]


def onnx_logits(session, ids):
    feeds = {"input_ids": numpy.array([ids], numpy.int64), "attention_mask": numpy.ones((1, len(ids)), numpy.int64)}
    known = {given.name for given in session.get_inputs()}
    feeds = {name: value for name, value in feeds.items() if name in known}
    if "position_ids" in known:
        feeds["position_ids"] = numpy.arange(len(ids), dtype=numpy.int64)[None]
    for given in session.get_inputs():
        if given.name.startswith("past_key_values."):
            dtype = numpy.float16 if given.type == "tensor(float16)" else numpy.float32
            feeds[given.name] = numpy.zeros((1, given.shape[1], 0, given.shape[3] if isinstance(given.shape[3], int) else
                                             head_size(session)), dtype)
    return torch.tensor(session.run(["logits"], feeds)[0][0].astype(numpy.float32))


def head_size(session):
    config = json.loads((pathlib.Path(session._model_path).parent / "genai_config.json").read_text())
    return config["model"]["decoder"]["head_size"]


def compare(case, ours, want):
    error = abs(ours["sum_nll"] / want[0] - 1)
    wrong = error > TOLERANCE or ours["tokens"] != want[1]
    print(f"{'DIFFERS' if wrong else 'same'}: {case}: sum {ours['sum_nll']:.6f} of {ours['tokens']} tokens, off by {error:.1e}; "
          f"perplexity {ours['perplexity']:.6f}", flush=True)
    return wrong


def multiple_choice(rows_file, count):
    rows = [json.loads(line) for line in rows_file.read_text().splitlines()]
    questions = []
    for i, row in enumerate(rows[:count]):
        choices = [rows[(i * 7 + 13 * k) % len(rows)]["Best Answer"] for k in range(1, 4)]
        choices.insert(i % 4, row["Best Answer"])
        questions.append({"context": f"Question: {row['Question']}\nAnswer:", "choices": choices, "answer": i % 4})
    return questions


def compare_choices(ours, questions, model, tokenizer):
    right, by_bytes, close = 0, 0, 0
    for question in questions:
        context = tokenizer(question["context"])["input_ids"]
        likelihoods = []
        for choice in question["choices"]:
            whole = tokenizer(f"{question['context']} {choice}")["input_ids"]
            logits = torch.log_softmax(torch_logits(model, whole[:-1]).double(), -1)[len(context) - 1:]
            likelihoods.append(logits.gather(1, torch.tensor(whole[len(context):])[:, None]).sum().item())
        likelihoods = numpy.array(likelihoods)
        per_byte = likelihoods / [len(choice.encode()) for choice in question["choices"]]
        right += int(likelihoods.argmax() == question["answer"])
        by_bytes += int(per_byte.argmax() == question["answer"])
        close += any(numpy.diff(numpy.sort(values))[-1] < 1e-4 for values in [likelihoods, per_byte])
    off = abs(ours["right"] - right) + abs(ours["right_by_bytes"] - by_bytes)
    wrong = off > close or ours["questions"] != len(questions)
    print(f"{'DIFFERS' if wrong else 'same'}: {len(questions)} questions: {ours['right']} right, {ours['right_by_bytes']} by bytes; "
          f"transformers {right} and {by_bytes}, {close} of them ties", flush=True)
    return wrong


if __name__ == "__main__":
    main()
