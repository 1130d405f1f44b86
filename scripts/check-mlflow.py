#!/usr/bin/env python3
"""Logs trainings to a real MLflow server, and looks at them with MLflow's own client.

usage: check-mlflow.py [OLIVE]
needs: pip install mlflow; OLIVE is the program, target/release/olive by default

The quickstart is trained with `report_to` mlflow: its run must have the metrics of metrics.jsonl at their steps, the options that the run
record has, tags, name and experiment. Trained again, it comes from the cache, and nothing is logged. A training that is interrupted and one
that goes on after it are one run, without a gap and without a step twice; one that diverges is a failed run. Prints what was checked; exit
code 1 at the first difference.
"""
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLIVE = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/olive")
CONFIG = "configs/quickstart/olive-config.json"
ARGUMENTS = "passes.lora.config.training_args."


@contextlib.contextmanager
def server(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/mlflow.db", "--artifacts-destination", f"{folder}/artifacts"]
    with open(folder / "server.log", "w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(240):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(address + "/health")
                break
            time.sleep(0.5)
        else:
            sys.exit((folder / "server.log").read_text())
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def arguments(folder, **training):
    training = {"report_to": '["mlflow"]', "logging_steps": 1, "max_steps": 6, "eval_steps": 3} | training
    values = [f"engine.cache_dir={folder}/cache", f"engine.output_dir={folder}/output"]
    values += [f"{ARGUMENTS}{name}={value}" for name, value in training.items()]
    return [OLIVE, "run", "--config", CONFIG, *(part for value in values for part in ("--set", value))]


def olive(folder, environment, **training):
    return subprocess.run(arguments(folder, **training), cwd=ROOT, env=os.environ | environment, capture_output=True, text=True)


def rows(folder):
    """Metrics by name and step, as transformers names them."""
    metrics = {}
    lines = (folder / "output/adapter/metrics.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        train = row["kind"] == "train"
        values = {key: row[key] for key in ("loss", "learning_rate", "grad_norm", "epoch")} if train else {"eval_loss": row["loss"]}
        for name, value in values.items():
            metrics.setdefault(name, {})[row["step"]] = value
    return metrics


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")
    print(f"ok: {what}")


def logged(client, run, name):
    history = client.get_metric_history(run.info.run_id, name)
    check(f"no step of {name} twice", len({metric.step for metric in history}), len(history))
    return {metric.step: metric.value for metric in history}


def main():
    from mlflow import MlflowClient

    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        with server(folder) as address:
            client = MlflowClient(address)
            environment = {"MLFLOW_TRACKING_URI": address, "MLFLOW_EXPERIMENT_NAME": "olive", "MLFLOW_TAGS": '{"team": "a"}'}

            def runs():
                experiment = client.get_experiment_by_name("olive")
                return client.search_runs([experiment.experiment_id], order_by=["attributes.start_time DESC"])

            first = folder / "first"
            done = olive(first, environment, run_name="six steps")
            check("the run succeeds", done.returncode, 0)
            (run,) = runs()
            check("status", run.info.status, "FINISHED")
            check("name", run.info.run_name, "six steps")
            check("tags", [run.data.tags[tag] for tag in ("team", "olive.pass", "mlflow.source.name")], ["a", "lora", "olive"])
            for name, expected in rows(first).items():
                check(f"{len(expected)} values of {name}", logged(client, run, name), expected)
            options = json.loads(subprocess.run([OLIVE, "validate", CONFIG, "--json", *arguments(first)[4:]], cwd=ROOT, text=True,
                                                capture_output=True, env=os.environ | environment).stdout)
            options = {option["name"].removeprefix("training_args."): option["value"] for option in options["flows"][0]["steps"][0]["options"]}
            options |= {"run_name": "six steps"}
            check(f"{len(options)} parameters", run.data.params, {name: spelled(value) for name, value in options.items()})
            check("it comes from the cache", "cached" in olive(first, environment).stdout, True)
            check("a cached training is not logged", len(runs()), 1)

            second = folder / "second"
            steps = {"max_steps": 60, "eval_steps": 20}
            process = subprocess.Popen([*arguments(second, **steps), "--log-format", "json"], cwd=ROOT, env=os.environ | environment,
                                       stderr=subprocess.PIPE, text=True)
            next(line for line in process.stderr if '"step":12' in line)
            process.send_signal(signal.SIGINT)
            process.communicate()
            check("the interruption is told", process.returncode, 130)
            check("status after it", runs()[0].info.status, "KILLED")
            check("the rest succeeds", olive(second, environment, **steps).returncode, 0)
            check("both parts are one run", len(runs()), 2)
            check("status of both", runs()[0].info.status, "FINISHED")
            for name, expected in rows(second).items():
                check(f"{len(expected)} values of {name} in two parts", logged(client, runs()[0], name), expected)

            check("a training that diverges fails", olive(folder / "third", environment, learning_rate="1e30", max_grad_norm=0).returncode, 1)
            check("so does its run", runs()[0].info.status, "FAILED")


def spelled(value):
    """As transformers' callback has it, but for lists and objects."""
    return json.dumps(value, separators=(",", ":")) if isinstance(value, (dict, list)) else str(value)


main()
