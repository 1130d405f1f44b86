#!/usr/bin/env python3
"""Let every system call on files fail once, do half, or be where the program is killed, in a small pipeline, and look at what is left.

usage: OLIVE=path/of/olive scripts/check-faults.py [--every K] [--first N] [--faults kill,ENOSPC,…] [--calls write,…]

Needs `strace`, and `cc` for the fault `short`: the system reads or writes half of what was asked for, at one call and at all. A run
trains, merges and builds a tiny model. For each call and fault, in a new folder: the run must end as a finished run or with an error
that has a message (or be killed), never with a panic or a wrong result; the run after it must end well, with the files that an
undisturbed run writes, byte for byte, and nothing else. Prints a line per kind; exits with 1 if one failed.
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
from small_pipeline import ROOT, configuration, content, differing, rows

READING = "openat read pread64 flock".split()
WRITING = "write pwrite64 writev fsync fdatasync ftruncate fallocate copy_file_range sendfile".split()
NAMING = "rename renameat renameat2 link linkat unlink unlinkat mkdir mkdirat rmdir".split()
ANSWERS = {
    "kill": READING + WRITING + NAMING,
    "EIO": READING + WRITING + NAMING,
    "ENOSPC": ["openat"] + WRITING + NAMING,
    "EINTR": READING + WRITING + NAMING,
    "EACCES": ["openat"] + NAMING,
    "EPERM": NAMING,
    "EXDEV": ["rename", "renameat", "renameat2", "link", "linkat", "copy_file_range"],
    "short": ["read", "pread64", "write", "pwrite64", "writev", "copy_file_range", "sendfile"],
}
LOCKS = {".lock", ".in-use"}
# A loader that cannot load the program answers with this.
NOT_LOADED = 127


def command(*before):
    return [*before, os.environ["OLIVE"], "--offline", "--quiet", "run", "--config", "c.json"]


def run(folder, *before):
    return small_pipeline.run(command(*before), folder, 120)


def files(folder):
    """Names of files to their hashes; the records of runs are named by time, and tell it, so only their place counts."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        # Hashes that were not kept are computed again, and where there can be no lock it is done without.
        if path.is_dir() or "/runs/" in name or name in {"c.json", "cache/content-hashes-v1.json"} or path.suffix in LOCKS:
            continue
        told_by_time = path.name in {"manifest.json", "run_history.json", "report.html"} or "tfevents" in path.name
        if path.name == "metrics.jsonl":
            found[name] = rows(path)
        else:
            found[name.split("events.out")[0]] = None if told_by_time else content(path)
    return found


def fresh(parent):
    folder = pathlib.Path(tempfile.mkdtemp(dir=parent))
    (folder / "c.json").write_text(json.dumps({**configuration(), "cache_dir": "cache", "output_dir": "result"}))
    return folder


def count(parent, calls):
    folder = fresh(parent)
    made = small_pipeline.count(command(), folder, calls)
    shutil.rmtree(folder)
    return made


class Short:
    """The calls that do half; a library that is loaded before the system's makes them."""

    def __init__(self, parent):
        self.library = parent / "short.so"
        source = ROOT / "scripts/short_calls.c"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, source, "-ldl"], check=True)

    def before(self, **settings):
        return ["env", f"LD_PRELOAD={self.library}", *(f"{name}={value}" for name, value in settings.items())]

    def disturb(self, call, number):
        return self.before(SHORT_CALLS=f"{call.replace('sendfile', 'sendfile64')}:{number}")

    def count(self, parent):
        folder = fresh(parent)
        run(folder, *self.before(SHORT_COUNTS="counts")).check_returncode()
        lines = (folder / "counts").read_text().splitlines()
        shutil.rmtree(folder)
        return {call.removesuffix("64") if call == "sendfile64" else call: int(n) for call, n in map(str.split, lines)}


def injected(call, number, fault):
    what = "signal=KILL" if fault == "kill" else f"error={fault}"
    return ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{what}:when={number}"]


def disturbed(parent, reference, call, fault, before):
    """What is wrong after a run that is disturbed so, if anything, and how that run ended."""
    folder = fresh(parent)
    try:
        first = run(folder, *before)
        code = first.returncode
        return wrong(folder, reference, call, fault, first), "killed" if code in (-9, 137) else code
    except subprocess.TimeoutExpired:
        return "hangs", "never"
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wrong(folder, reference, call, fault, first):
    if "panicked" in first.stderr or first.returncode == 101:
        return f"panic: {first.stderr[-300:]}"
    killed = fault == "kill" and first.returncode in (-9, 137)
    if not killed and first.returncode not in (0, 1, 2, NOT_LOADED):
        return f"ends with {first.returncode}: {first.stderr[-300:]}"
    if first.returncode in (1, 2) and "error: " not in first.stderr:
        return f"ends with {first.returncode} and no message: {first.stderr[-300:]}"
    # What could not be removed is left for the next run.
    if first.returncode == 0 and not call.startswith("unlink") and files(folder) != reference:
        return f"ends well, and differs: {differing(reference, files(folder))[:6]}"
    second = run(folder)
    if second.returncode != 0:
        return f"the next run ends with {second.returncode}: {second.stderr[-300:]}"
    if files(folder) != reference:
        return f"the next run leaves: {differing(reference, files(folder))[:6]}"
    return None


def cases(parent, faults, calls, first, every):
    """Calls with faults, and for each what to run before the program, by the number of the call; 0 is all of them."""
    injectable = [call for call in READING + WRITING + NAMING if call in calls]
    made = count(parent, injectable) if set(faults) - {"short"} else {}
    for fault in faults:
        short = Short(parent) if fault == "short" else None
        most = short.count(parent) if short else made
        for call in ANSWERS[fault]:
            if call not in calls or most.get(call, 0) < first:
                continue
            # Of what is rare, a few at least.
            numbers = range(first, most[call] + 1, max(1, min(every, most[call] // 5)))
            if short:
                yield call, fault, {number: short.disturb(call, number) for number in [0, *numbers]}
            else:
                yield call, fault, {number: injected(call, number, fault) for number in numbers}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=1, help="only every K-th call, of what is rare more")
    parser.add_argument("--first", type=int, default=1, help="from this call on")
    parser.add_argument("--faults", default=",".join(ANSWERS))
    parser.add_argument("--calls", default=",".join(READING + WRITING + NAMING))
    arguments = parser.parse_args()
    os.environ["OLIVE"] = str(pathlib.Path(os.environ["OLIVE"]).resolve())
    memory = pathlib.Path("/dev/shm")
    parent = pathlib.Path(tempfile.mkdtemp(prefix="olive-faults-", dir=memory if memory.is_dir() else None))
    tried = failed = 0
    try:
        folder = fresh(parent)
        undisturbed = run(folder)
        if undisturbed.returncode != 0:
            sys.exit(f"the undisturbed run fails: {undisturbed.stderr}")
        reference = files(folder)
        chosen = arguments.faults.split(","), arguments.calls.split(","), arguments.first, arguments.every
        for call, fault, numbers in cases(parent, *chosen):
            found = [(n, *disturbed(parent, reference, call, fault, before)) for n, before in numbers.items()]
            wrongs = [(number, why) for number, why, _ in found if why]
            ends = collections.Counter(str(end) for _, _, end in found)
            tried += len(found)
            failed += len(wrongs)
            print(f"{call:16} {fault:7} {len(found):4} tried, {len(wrongs)} wrong; ends: {dict(ends)}", flush=True)
            for number, why in wrongs[:5]:
                print(f"    call {number}: {why}", flush=True)
    finally:
        shutil.rmtree(parent, ignore_errors=True)
    print(f"{tried} tried, {failed} failed")
    sys.exit(failed > 0)


main()
