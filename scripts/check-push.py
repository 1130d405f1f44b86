#!/usr/bin/env python3
"""Pushes the same models with `olive push` and with the hub's own client, and compares what the hub has then.

usage: check-push.py [OLIVE]
needs: pip install huggingface_hub; OLIVE is the program, target/release/olive by default

The hub is scripts/push_hub.py, on this machine. For a model folder with text, empty, small and large files in folders, both must leave the same
repository, by the same requests for places, objects and commits; what one has pushed the other must not push again; a private
repository is one. The card of a run must be one that the client's parser of cards takes, with all its values. Prints what was checked; exit
code 1 at the first difference.
"""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLIVE = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/olive")
TOKEN = "hf_ada_writes_with_it"

os.environ["HF_HUB_DISABLE_XET"] = "1"  # Both by Git LFS.
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["NO_PROXY"] = "127.0.0.1"

from huggingface_hub import HfApi, ModelCard  # noqa: E402
import push_hub  # noqa: E402


def check(holds, what):
    if not holds:
        sys.exit(f"DIFFERS: {what}")
    print(f"ok: {what}")


def olive(hub, *arguments):
    environment = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": TOKEN, "HF_HOME": "/nonexistent"}
    done = subprocess.run([OLIVE, *map(str, arguments)], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{arguments}: {done.stderr}")
    return done.stdout


def model(folder):
    for file in (ROOT / "model-cache/tiny-phi3").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "onnx").mkdir()
    (folder / "onnx/model.onnx").write_bytes(bytes(range(256)) * 20_000)
    (folder / "onnx/small.bin").write_bytes(b"\0" * 10)
    (folder / "onnx/a b ü.txt").write_text("größer\r\n")
    (folder / "empty.safetensors").write_bytes(b"")
    return folder


def reference(hub, folder, repo, **options):
    api = HfApi(endpoint=hub.endpoint, token=TOKEN)
    api.create_repo(repo, exist_ok=True, **options)
    return api.upload_folder(repo_id=repo, folder_path=folder)


def asked(hub, repo):
    """What a client asked for of a repository, in any order of files; without what it calls the commit."""
    kinds = {"preupload": [], "batch": [], "commit": []}
    for method, path, body in hub.requests:
        if repo not in path:
            continue
        if "/preupload/" in path:
            kinds["preupload"] += [json.dumps(file, sort_keys=True) for file in json.loads(body)["files"]]
        elif path.endswith("/objects/batch"):
            request = json.loads(body)
            kinds["batch"] += [json.dumps(entry, sort_keys=True) for entry in request.pop("objects")] + [json.dumps(request, sort_keys=True)]
        elif "/commit/" in path:
            kinds["commit"] += [json.dumps(json.loads(line), sort_keys=True) for line in body.splitlines()[1:]]
    return {kind: sorted(entries) for kind, entries in kinds.items()}


def same_state(folder):
    hub = push_hub.Hub(TOKEN)
    reference(hub, folder, "ada/reference")
    stored = dict(hub.objects)
    hub.objects.clear()
    olive(hub, "push", folder, "ada/olive")
    ours, theirs = hub.repos["ada/olive"], hub.repos["ada/reference"]
    check(ours.tree("main") == theirs.tree("main"), f"the same {len(theirs.tree('main'))} files in the repository")
    check(hub.objects == stored and len(stored) == 3, "the same objects in the storage, whole and in parts")
    check(not ours.private, "a repository as the account has it")
    own, other = asked(hub, "ada/olive"), asked(hub, "ada/reference")
    check(own["preupload"] == other["preupload"], "places asked for in the same words")
    check(own["commit"] == other["commit"], "the same lines of the commit")
    own, other = ([entry for entry in kinds["batch"] if '"oid"' in entry] for kinds in (own, other))
    check(own == other, "objects asked for in the same words")


def nothing_twice(folder):
    hub = push_hub.Hub(TOKEN)
    reference(hub, folder, "ada/model")
    said = olive(hub, "push", folder, "ada/model")
    check("there already" in said and len(hub.repos["ada/model"].commits) == 2, "what the client has pushed is not pushed again")
    hub = push_hub.Hub(TOKEN)
    olive(hub, "push", folder, "ada/model", "--private")
    check(hub.repos["ada/model"].private, "a private repository")
    reference(hub, folder, "ada/model")
    check(len(hub.repos["ada/model"].commits) == 2, "nor does the client push again what olive has pushed")
    (folder / "config.json").write_text("{}")
    olive(hub, "push", folder, "ada/model", "--message", "Second")
    commits = hub.repos["ada/model"].commits
    check(len(commits) == 3 and commits[2][0] == "Second", "a changed file is one commit")
    return hub


def cards(folder):
    output = folder / "output"
    values = [f"engine.cache_dir={folder}/cache", f"engine.output_dir={output}", "passes.lora.config.training_args.max_steps=2"]
    sets = [part for value in values for part in ("--set", value)]
    olive(push_hub.Hub(TOKEN), "run", "--config", "configs/quickstart/olive-config.json", *sets)
    for place in (output / "README.md", ROOT / "model-cache/tiny-phi3/README.md"):
        card = ModelCard.load(place)
        data = card.data.to_dict()
        again = ModelCard(f"---\n{card.data.to_yaml()}\n---\n{card.text}").data.to_dict()
        check(data == again and data, f"{place.parent.name}/README.md: {json.dumps(data)}")
    data = ModelCard.load(output / "README.md").data
    check(data.pipeline_tag == "text-generation", "the card says what the model is for")
    check({"olive", "lora", "onnx"} <= set(data.tags), "the card has the tags of its kind")
    hub = push_hub.Hub(TOKEN)
    olive(hub, "push", output, "ada/run")
    names = sorted(hub.repos["ada/run"].tree("main"))
    check("README.md" in names and "genai_config.json" in names, f"the result of a run: {', '.join(names)}")
    check(not any("/" in name or name in ("run_history.json", "model_config.json") for name in names), "and nothing else")


def main():
    with tempfile.TemporaryDirectory() as folder:
        folder = model(pathlib.Path(folder))
        same_state(folder)
        nothing_twice(folder)
    with tempfile.TemporaryDirectory() as folder:
        cards(pathlib.Path(folder))


main()
