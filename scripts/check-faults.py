#!/usr/bin/env python3
"""Let every system call that writes fail once, or kill the program there, in a small pipeline, and look at what is left.

usage: OLIVE=path/of/olive scripts/check-faults.py [--every K] [--first N] [--faults kill,ENOSPC,…] [--calls write,…]

Needs `strace`. A run trains, merges and builds a tiny model. For each call and fault, in a new folder: the run must end as a
finished run or with an error (or be killed), never with a panic or a wrong result; the run after it must end well, with the files
that an undisturbed run writes, byte for byte, and nothing else. Prints a line per kind; exits with 1 if one failed.
"""
import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import small_pipeline
from small_pipeline import configuration, content, differing

CALLS = "openat,write,pwrite64,writev,fsync,fdatasync,ftruncate,copy_file_range,sendfile,flock,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir"
FAULTS = ["kill", "ENOSPC", "EIO", "EINTR", "EACCES"]
# What a call cannot answer tells nothing. A lock that cannot be had is waited for, and an opened file is not full.
SENSELESS = {("openat", "EINTR"), ("flock", "EINTR"), ("flock", "ENOSPC"), ("flock", "EIO")}


def run(folder, *before):
    command = [*before, os.environ["OLIVE"], "--offline", "--quiet", "run", "--config", "c.json"]
    return small_pipeline.run(command, folder, 120)


def files(folder):
    """Names of files to their hashes; the records of runs are named by time, and tell it, so only their place counts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Hashes that were not kept are computed again.
        if path.is_dir() or "/runs/" in name or name in {"c.json", "cache/content-hashes-v1.json"}:
            continue
        told_by_time = path.name in {"manifest.json", "run_history.json", "metrics.jsonl"} or "tfevents" in path.name
        found[name.split("events.out")[0]] = None if told_by_time else content(path)
    return found


def fresh(parent):
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
    (folder / "c.json").write_text(json.dumps({**configuration(), "cache_dir": "cache", "output_dir": "result"}))
    return folder


def count(parent):
    """How often each call is made by the thread that makes most."""
    folder = fresh(parent)
    run(folder, "strace", "-f", "-qq", "-o", "calls", "-e", f"trace={CALLS}")
    calls = collections.Counter()
    for line in (folder / "calls").read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        calls[rest.strip().split("(")[0], thread] += 1
    shutil.rmtree(folder)
    most = collections.Counter()
    for (call, _), number in calls.items():
        most[call] = max(most[call], number)
    return {call: number for call, number in most.items() if call in CALLS.split(",")}


def disturbed(parent, reference, call, number, fault):
    """What is wrong after this fault, if anything."""
    folder = fresh(parent)
    what = "signal=KILL" if fault == "kill" else f"error={fault}"
    inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}"]
    try:
        first = run(folder, *inject)
        if "panicked" in first.stderr or first.returncode == 101:
            return f"panic: {first.stderr[-300:]}"
        killed = fault == "kill" and first.returncode in (-9, 137)
        if not killed and first.returncode not in (0, 1, 2, 127):
            return f"ends with {first.returncode}: {first.stderr[-300:]}"
        # What could not be removed is left for the next run.
        if first.returncode == 0 and not call.startswith("unlink") and files(folder) != reference:
            return f"ends well, and differs: {differing(reference, files(folder))[:6]}"
        second = run(folder)
        if second.returncode != 0:
            return f"the next run ends with {second.returncode}: {second.stderr[-300:]}"
        if files(folder) != reference:
            return f"the next run leaves: {differing(reference, files(folder))[:6]}"
    except subprocess.TimeoutExpired:
        return "hangs"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every K-th call")
    parser.add_argument("--first", type=int, default=1, help="from this call on")
    parser.add_argument("--faults", default=",".join(FAULTS))
    parser.add_argument("--calls", default=CALLS)
    arguments = parser.parse_args()
    os.environ["OLIVE"] = str(pathlib.Path(os.environ["OLIVE"]).resolve())
    memory = pathlib.Path("/dev/shm")
    parent = pathlib.Path(tempfile.mkdtemp(prefix="olive-faults-", dir=memory if memory.is_dir() else None))
    failed = 0
    try:
        folder = fresh(parent)
        first = run(folder)
        if first.returncode != 0:
            sys.exit(f"the undisturbed run fails: {first.stderr}")
        reference = files(folder)
        for call, most in sorted(count(parent).items()):
            if call not in arguments.calls.split(","):
                continue
            for fault in arguments.faults.split(","):
                if (call, fault) in SENSELESS:
                    continue
                numbers = range(arguments.first, most + 1, arguments.every)
                wrong = [(n, why) for n in numbers if (why := disturbed(parent, reference, call, n, fault))]
                failed += len(wrong)
                print(f"{call:16} {fault:7} {len(numbers):4} tried, {len(wrong)} wrong", flush=True)
                for number, why in wrong[:5]:
                    print(f"    call {number}: {why}", flush=True)
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    print(f"{failed} failed")
    sys.exit(failed > 0)


main()
