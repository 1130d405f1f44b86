#!/usr/bin/env python3
"""Runs Microsoft's recipes on tiny models and has onnxruntime-genai generate from what they make.

usage: check-recipes.py [FILE ...] [--all] [--olive BINARY]

Recipes and models are those of the reference material (OLIVE_SHARED, default ../shared): one recipe of every chain of
passes, kind of model and set of ModelBuilder's options that is accepted, with `--all` every accepted one. A recipe runs
as tests/cli/recipes.rs runs it: on a tiny model, for the CPU, with data for the passes that Olive gives wikitext-2, and
in fp32 where it says fp16. Needs onnxruntime-genai (made with 0.18.0), tokenizers, and the binary (default target/release/olive, or
the one in cargo's target folder). Prints one line per recipe: the tokens of onnxruntime-genai against those of
`olive generate` after prompts of several lengths. Exit code 1 if a recipe fails or tokens differ.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARED = pathlib.Path(os.environ.get("OLIVE_SHARED", ROOT.parent / "shared"))
PROMPTS = ["the", "The olive tree", "a b c d e f g h i j k l m n o p"]
NEW_TOKENS = 16


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--olive", type=pathlib.Path)
    arguments = parser.parse_args()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    olive = arguments.olive or target / "release/olive"
    listed = subprocess.run([olive, "run-pass", "--list-passes"], capture_output=True, text=True, check=True)
    known = {line.split(". ", 1)[1].strip().lower() for line in listed.stdout.splitlines() if ". " in line}
    failed, seen = 0, set()
    for row in (SHARED / "recipes/README.md").read_text().splitlines():
        cells = row.removeprefix("| ").removesuffix(" |").split(" | ")
        if len(cells) < 7 or cells[-1] != "accept":
            continue
        file, passes, kind, options = cells[0], cells[2], cells[3], cells[5].split(";")[0].strip()
        if arguments.files:
            chosen = file in arguments.files
        else:
            chosen = arguments.all or (passes, kind, options) not in seen
        if not chosen or any(name.lower() not in known for name in passes.split(" → ")):
            continue
        seen.add((passes, kind, options))
        with tempfile.TemporaryDirectory() as folder:
            problem = check(SHARED / "recipes" / file, passes, pathlib.Path(folder), olive)
        print(f"{file} ({passes}): {problem or 'the same tokens'}", flush=True)
        failed += problem is not None
    print(f"{len(seen)} recipes, {failed} with problems" if not arguments.all else f"{failed} with problems")
    sys.exit(failed > 0)


def check(recipe, passes, folder, olive):
    arch = "llama" if passes.endswith("GraphSurgeries") else "phi3"
    config = json.loads(recipe.read_text())
    adapt(config, SHARED / "goldens/models" / arch / "hf", SHARED / "goldens/passes" / arch / "calibration.jsonl", folder)
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    ran = subprocess.run([olive, "run", "--config", path], capture_output=True, text=True)
    if ran.returncode:
        return f"the run fails: {ran.stderr.strip()[-300:]}"
    for prompt in PROMPTS:
        ours, theirs = by_olive(olive, folder / "out", prompt), by_genai(folder / "out", prompt)
        if ours != theirs:
            return f"after {prompt!r} olive says {ours}, onnxruntime-genai {theirs}"
    return None


def adapt(config, model, texts, folder):
    for key in ("engine", "systems", "target", "host", "evaluator", "evaluators"):
        config.pop(key, None)
    config["input_model"]["model_path"] = str(model)
    config["output_dir"], config["cache_dir"] = str(folder / "out"), str(folder / "cache")
    config["data_configs"] = [
        {
            "name": "texts",
            "type": "HuggingfaceContainer",
            "load_dataset_config": {"data_name": "json", "data_files": str(texts), "split": "train"},
            "pre_process_data_config": {
                "text_cols": ["text"],
                "strategy": "line-by-line",
                "max_seq_len": 32,
                "max_samples": 4,
                "add_special_tokens": False,
                "pad_to_max_len": False,
            },
        }
    ]
    for step in config["passes"].values():
        options = step["config"] if isinstance(step.get("config"), dict) else step
        name = step["type"].lower()
        if name == "gptq" or options.get("algorithm") == "kld_gradient":
            options["data_config"] = "texts"
        if name in ("gptq", "rtn", "selectivemixedprecision") and options.get("group_size", 128) > 32:
            options["group_size"] = 32
        if options.get("precision") == "fp16":
            options["precision"] = "fp32"


def by_olive(olive, model, prompt):
    done = subprocess.run(
        [olive, "generate", "--json", "--quiet", "--raw", "--temperature", "0", "--prompt", prompt]
        + ["--max-new-tokens", str(NEW_TOKENS), model],
        capture_output=True,
        text=True,
    )
    return json.loads(done.stdout)["ids"] if done.returncode == 0 else done.stderr.strip()[-300:]


def by_genai(model, prompt):
    import numpy as np
    import onnxruntime_genai as og
    from tokenizers import Tokenizer

    # onnxruntime-genai's own tokenizer leaves the token out that begins a text.
    ids = Tokenizer.from_file(str(model / "tokenizer.json")).encode(prompt).ids
    loaded = og.Model(str(model))
    parameters = og.GeneratorParams(loaded)
    parameters.set_search_options(max_length=len(ids) + NEW_TOKENS, do_sample=False)
    generator = og.Generator(loaded, parameters)
    generator.append_tokens(np.array(ids, dtype=np.int32))
    while not generator.is_done():
        generator.generate_next_token()
    return [int(token) for token in generator.get_sequence(0)[len(ids) :]]


main()
