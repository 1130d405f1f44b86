"""A pipeline of seconds (LoRA, merge, int4 build), which is disturbed to see what is left."""
import collections
import hashlib
import json
import os
import pathlib
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent


def configuration():
    """Without folders for the cache and the result."""
    data = {
        "name": "rows",
        "type": "HuggingfaceContainer",
        "load_dataset_config": {
            "data_name": "json",
            "data_files": str(ROOT / "datasets/olive-qa.jsonl"),
            "split": "train[:24]",
        },
        "pre_process_data_config": {
            "text_template": "{Question} {Best Answer}",
            "max_seq_len": 16,
            "strategy": "line-by-line",
            "pad_to_max_len": False,
        },
    }
    # Evaluations, a best state, and saved adapters of which the oldest go.
    training = {
        "max_steps": 8,
        "save_strategy": "steps",
        "save_steps": 2,
        "save_total_limit": 3,
        "evaluation_strategy": "steps",
        "eval_steps": 2,
        "load_best_model_at_end": True,
        "logging_steps": 1,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 0.02,
        "seed": 0,
    }
    lora = {
        "type": "LoRA",
        "train_data_config": "rows",
        "eval_dataset_size": 2,
        "r": 2,
        "training_args": training,
    }
    return {
        "input_model": {"type": "HfModel", "model_path": str(ROOT / "model-cache/tiny-phi3")},
        "data_configs": [data],
        "passes": {
            "lora": lora,
            "merge": {"type": "MergeAdapterWeights"},
            "builder": {"type": "ModelBuilder", "precision": "int4"},
        },
    }


def run(command, folder, timeout):
    # One thread computes, so that its system calls have the same numbers every time.
    environment = {**os.environ, "RAYON_NUM_THREADS": "1", "RUST_BACKTRACE": "0"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, errors="replace", timeout=timeout
    )


def count(command, folder, calls):
    """How often a run makes each of these system calls, by the thread that makes it most often: strace counts by thread."""
    trace = ["strace", "-f", "-qq", "-o", "calls", "-e", f"trace={','.join(calls)}"]
    run(trace + command, folder, 300).check_returncode()
    made = collections.Counter()
    for line in (folder / "calls").read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        made[rest.strip().split("(")[0], thread] += 1
    (folder / "calls").unlink()
    most = collections.Counter()
    for (call, _), number in made.items():
        if call in calls:
            most[call] = max(most[call], number)
    return most


def content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def rows(metrics):
    """The rows of a training's metrics, but for the seconds that they took."""
    found = []
    for line in metrics.read_text().splitlines():
        row = json.loads(line)
        row.pop("seconds", None)
        found.append(json.dumps(row))
    return found


def differing(wanted, found):
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name, "") != found.get(name, ""))
