#!/usr/bin/env python3
"""Kills runs at random moments and at random writes to the file system, and checks that the next run puts all right.

usage: check-kills.py [--olive BINARY] [--kills N] [--seed N] [--keep]

A small pipeline (LoRA, merge, int4 export) is run once undisturbed. Then, N times, a run is killed (SIGKILL) after a random time or,
where strace is installed, at a random call that makes, writes, renames, links or removes a file; now and then several times in a row,
with two runs at a time, and after a Ctrl-C. Runs that end before they are killed do not count. After each series a run to the end must succeed, and its result must equal the undisturbed one byte for byte,
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
from small_pipeline import ROOT, configuration, content, differing, rows

CALLS = "rename,renameat,renameat2,linkat,unlink,unlinkat,rmdir,mkdir,fsync,ftruncate,copy_file_range,flock,openat,write".split(",")
INTERRUPTED = 130
# Names that the program gives to what is on its way.
ON_THEIR_WAY = (".olive-partial-", ".tmp", ".checkpoint-")
# They say when and where, not what.
OF_THE_RUN = {"run_history.json", "manifest.json", "report.html"}


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
    calls = small_pipeline.count(command(arguments.olive, "counted"), folder, CALLS) if shutil.which("strace") else {}
    kills = faults = told = 0
    while kills < arguments.kills:
        broken = folder / "broken"
        shutil.rmtree(broken, ignore_errors=True)
        for _ in range(chance.choice([1, 1, 1, 2, 4])):
            kills += kill(arguments.olive, folder, chance, seconds, calls)
        if kills >= told + 20:
            told = kills
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


def kill(olive, folder, chance, seconds, calls):
    """Starts a run, or two, kills them in a way that chance decides, and gives how many were killed."""
    start = command(olive, "broken")
    quiet = {"cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    beside = subprocess.Popen(start, **quiet) if chance.random() < 0.1 else None
    if calls and chance.random() < 0.7:
        call = chance.choice(sorted(calls))
        trace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"]
        trace += ["-e", f"inject={call}:signal=SIGKILL:when={chance.randint(1, calls[call])}"]
        victim = subprocess.Popen(trace + start, **quiet)
        victim.wait(300)
    else:
        victim = subprocess.Popen(start, **quiet)
        time.sleep(chance.uniform(0, 1.1 * seconds))
        if chance.random() < 0.3:
            # Ctrl-C, after which a training saves its state.
            victim.send_signal(signal.SIGINT)
        kill_after(victim, chance.uniform(0, 0.1))
    if beside:
        kill_after(beside, chance.uniform(0, seconds))
    return sum(process.returncode in (-signal.SIGKILL, INTERRUPTED) for process in [victim, beside] if process)


def kill_after(process, seconds):
    time.sleep(seconds)
    process.kill()
    process.wait()


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
        if path.name in OF_THE_RUN or "tfevents" in path.name:
            files[name.rsplit("events.out", 1)[0]] = "there"
        elif path.name == "metrics.jsonl":
            files[name] = rows(path)
        elif on_its_way or not path.suffix == ".lock" and not path.name.startswith("content-hashes"):
            files[name] = content(path) if path.is_file() else "a folder"
    return {name: content for name, content in files.items() if not name.endswith(".in-use")}


if __name__ == "__main__":
    main()
