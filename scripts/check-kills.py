#!/usr/bin/env python3
"""Kills runs at random moments and at random writes to the file system, and checks that the next run puts all right.

usage: check-kills.py [--olive BINARY] [--kills N] [--seed N] [--keep]

A small pipeline (LoRA, merge, int4 export) is run once undisturbed. Then, N times, a run is killed (SIGKILL) after a random time or,
where strace is installed, at a random call that makes, renames, links or removes a file; now and then several times in a row, and with two
runs at a time. After each series a run to the end must succeed, and its result must equal the undisturbed one byte for byte,
in the output folder and in the cache; nothing else may be left but run records. Prints one line per 20 kills and every fault. Exit
code 1 if there was one.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import small_pipeline
from small_pipeline import ROOT, configuration, content, differing

CALLS = ["rename", "renameat2", "linkat", "unlink", "unlinkat", "mkdir", "fsync", "flock", "openat"]
# Names that the program gives to what is on its way.
ON_THEIR_WAY = (".olive-partial-", ".tmp", ".checkpoint-")
# They say when and where, not what.
OF_THE_RUN = {"run_history.json", "metrics.jsonl", "adapter_config.json"}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    parser.add_argument("--olive", type=pathlib.Path, default=target / "release/olive")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", action="store_true", help="leave the folder of the last fault")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    folder = pathlib.Path(tempfile.mkdtemp(prefix="olive-kills-"))
    (folder / "c.json").write_text(json.dumps(configuration()))
    started = time.monotonic()
    run(arguments.olive, folder, "whole").check_returncode()
    seconds = time.monotonic() - started
    whole = contents(folder / "whole")
    kills = faults = 0
    while kills < arguments.kills:
        broken = folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            kill(arguments.olive, folder, chance, seconds)
            kills += 1
            if kills % 20 == 0:
                print(f"{kills} kills, {faults} faults", flush=True)
        complaint = check(arguments.olive, folder, whole)
        if complaint:
            faults += 1
            print(f"after {kills} kills: {complaint}", flush=True)
            if arguments.keep:
                shutil.copytree(broken, folder / f"fault-{faults}", symlinks=True, dirs_exist_ok=True)
    print(f"{kills} kills, {faults} faults")
    if arguments.keep and faults:
        print(f"see {folder}")
    else:
        shutil.rmtree(folder)
    sys.exit(1 if faults else 0)


def command(olive, place):
    cache, output = f"cache_dir={place}/cache", f"output_dir={place}/out"
    return [str(olive), "--quiet", "run", "--config", "c.json", "--set", cache, "--set", output]


def run(olive, folder, place):
    return small_pipeline.run(command(olive, place), folder, 300)


def kill(olive, folder, chance, seconds):
    """Starts a run, or two, and kills the first in a way that chance decides."""
    start = command(olive, "broken")
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    beside = subprocess.Popen(start, **quiet) if chance.random() < 0.1 else None
    if shutil.which("strace") and chance.random() < 0.7:
        call, when = chance.choice(CALLS), chance.randint(1, 60)
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
        trace += ["-e", f"inject={call}:signal=SIGKILL:when={when}"]
        subprocess.run(trace + start, timeout=300, **quiet)
    else:
        victim = subprocess.Popen(start, start_new_session=True, **quiet)
        time.sleep(chance.uniform(0, 1.1 * seconds))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
    if beside:
        time.sleep(chance.uniform(0, seconds))
        beside.send_signal(signal.SIGKILL)
        beside.wait()


def check(olive, folder, whole):
    """Runs to the end and gives what is not as it must be."""
    last = run(olive, folder, "broken")
    if last.returncode:
        return f"the next run ends with {last.returncode}: {last.stderr}"
    found = contents(folder / "broken")
    if found != whole:
        return f"not as after an undisturbed run: {', '.join(differing(whole, found))}"
    again = run(olive, folder, "broken")
    if again.returncode or " run " in again.stdout:
        return f"the run after that is not from the cache: {again.stdout}{again.stderr}"
    return None


def contents(place):
    """Hashes of all files but records, locks and hash memories, by name."""
    files = {}
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        on_its_way = path.name.startswith(ON_THEIR_WAY) or ".partial" in name
        if not on_its_way and (path.is_dir() or name.startswith("out/.olive/")):
            continue
        if path.name in OF_THE_RUN or path.name == "manifest.json" or "tfevents" in path.name:
            files[name.rsplit("events.out", 1)[0]] = "there"
        elif on_its_way or not path.suffix == ".lock" and not path.name.startswith("content-hashes"):
            files[name] = content(path) if path.is_file() else "a folder"
    return {name: content for name, content in files.items() if not name.endswith(".in-use")}


if __name__ == "__main__":
    main()
