"""A pipeline of seconds (LoRA, merge, int4 build), which is disturbed to see what is left."""
import hashlib
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
    training = {
        "max_steps": 6,
        "save_strategy": "steps",
        "save_steps": 2,
        "eval_steps": 2,
        "logging_steps": 1,
        "per_device_train_batch_size": 1,
        "seed": 0,
    }
    return {
        "input_model": {"type": "HfModel", "model_path": str(ROOT / "model-cache/tiny-phi3")},
        "data_configs": [data],
        "passes": {
            "lora": {"type": "LoRA", "train_data_config": "rows", "r": 2, "training_args": training},
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


def content(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def differing(wanted, found):
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name, "") != found.get(name, ""))
