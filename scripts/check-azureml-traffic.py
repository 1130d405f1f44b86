#!/usr/bin/env python3
"""Holds what a whole run says to Azure ML, and what the fake of it answers, against Microsoft's specification of the control plane.

usage: check-azureml-traffic.py SPECIFICATION
needs: npm install oav@4.0.3, with node_modules/.bin in PATH; `cargo build --release`

SPECIFICATION is the folder .../Microsoft.MachineLearningServices/stable/2023-04-01 of Azure/azure-rest-api-specs, with the folders that
its files refer to. The requests are those of `scripts/azure-smoke`: validate, run, run again, list, cancel. `oav validate-traffic`, the
validator of those who write the specification, looks at each of them and at its answer. Prints what it covers and what is wrong; exit
code 1 if anything is, or if a request is none of the specification.
"""
import collections
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORKSPACE = "00000000-1111-2222-3333-444444444444/rg1/ws1"
VERSION = "2023-04-01"
# What the requests are, but for the address at which a cancellation is asked for: it is the service's own.
EXPECTED = set(
    "Workspaces_Get Compute_Get Datastores_Get Datastores_ListSecrets EnvironmentVersions_CreateOrUpdate "
    "Jobs_CreateOrUpdate Jobs_Get Jobs_List Jobs_Cancel".split()
)


def target():
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "release"


def capture(folder):
    """Runs the smoke test against the fake, which keeps what it hears and says in the folder."""
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "serve"], cwd=ROOT, check=True)
    command = [target() / "examples/serve", folder]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        lines = iter(server.stdout.readline, "\n")
        environment = {**os.environ, **dict(line.rstrip("\n").split("=", 1) for line in lines)}
        environment |= {"OLIVE": str(target() / "olive"), "OLIVE_AZUREML_ALLOW_HTTP": "1"}
        environment |= {"OLIVE_AZUREML_API_VERSION": VERSION, "AZUREML_RUN_POLLING_INTERVAL_MAX": "0"}
        subprocess.run([ROOT / "scripts/azure-smoke", WORKSPACE, "gpu-cluster"], env=environment, check=True)
        listing = [environment["OLIVE"], "jobs", "list", "--workspace", WORKSPACE]
        subprocess.run(listing, env=environment, check=True, stdout=subprocess.DEVNULL)
    finally:
        server.stdin.close()
        server.wait()


def validate(traffic, specification, folder):
    """The report of the validator. Its exit code says nothing: it fails where it would write HTML, after the report."""
    report = folder / "report.json"
    command = ["oav", "validate-traffic", traffic, specification, "--jsonReport", report, "--logLevel", "off"]
    told = subprocess.run(command, cwd=folder, text=True, capture_output=True)
    if not report.exists():
        sys.exit(f"oav wrote no report: {told.stdout}{told.stderr}")
    return json.loads(report.read_text())


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    specification = pathlib.Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        traffic = folder / "traffic"
        traffic.mkdir()
        capture(traffic)
        report = validate(traffic, specification, folder)
        exchanges = len(list(traffic.iterdir()))
    covered = [name for spec in report["passedOperationsList"] for name in spec["operationIds"]]
    wrong = collections.Counter((fault["operationId"], fault["issueSource"], fault["errorMessage"]) for fault in report["errors"])
    print(f"{exchanges} requests with their answers; operations that are as specified: {', '.join(sorted(covered))}")
    for (operation, source, message), times in wrong.items():
        print(f"WRONG   {operation}, {source}: {message} ({times} times)")
    missing = EXPECTED - set(covered)
    if missing:
        print(f"MISSING {', '.join(sorted(missing))}")
    sys.exit(bool(wrong or missing))


main()
