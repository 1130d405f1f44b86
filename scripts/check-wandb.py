#!/usr/bin/env python3
"""Has W&B's own program read and upload the offline run of a training.

usage: check-wandb.py [OLIVE]
needs: pip install wandb==0.31.0; OLIVE is the program, target/release/olive by default

The quickstart is trained with `report_to` wandb, long enough for several blocks of the file. All its records must be messages of W&B with
the right checksums; then `wandb sync` uploads it to a server here that answers as far as that needs, and what arrives must be the rows of
metrics.jsonl, the options, and the end of the run. Prints what was checked; exit code 1 at the first difference.
"""
import gzip
import http.server
import json
import os
import pathlib
import struct
import subprocess
import sys
import tempfile
import threading
import zlib

ROOT = pathlib.Path(__file__).resolve().parent.parent
OLIVE = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/olive")
ARGUMENTS = "passes.lora.config.training_args."
BLOCK = 32768


class Service(http.server.BaseHTTPRequestHandler):
    """What `wandb sync` asks of api.wandb.ai."""

    protocol_version = "HTTP/1.1"
    upserted, streamed = [], []

    def log_message(self, *_):
        pass

    def body(self):
        if self.headers.get("transfer-encoding") == "chunked":
            body = b""
            while length := int(self.rfile.readline(), 16):
                body += self.rfile.read(length)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
        return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

    def answer(self, body):
        if self.path.endswith("/file_stream"):
            self.streamed.append(json.loads(body))
            return {}
        if not self.path.endswith("/graphql"):
            return {}
        request = json.loads(body)
        query, variables = request["query"], request.get("variables") or {}
        if "upsertBucket" in query:
            self.upserted.append(variables)
            project = {"id": "p", "name": variables["project"], "entity": {"id": "e", "name": "somebody"}}
            bucket = {"id": "b", "name": variables["name"], "displayName": "x", "project": project, "historyLineCount": 0}
            return {"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}}
        if "createRunFiles" in query:
            return {"data": {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": []}}}
        if "viewer" in query:
            return {"data": {"viewer": {"id": "v", "entity": "somebody", "username": "somebody", "flags": "{}", "teams": {"edges": []}}}}
        return {"data": {}}

    def do_POST(self):
        text = json.dumps(self.answer(self.body())).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_PUT = do_POST


def check(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: found {found}, expected {expected}")
    print(f"ok: {what}")


def records(path):
    from wandb.proto import wandb_internal_pb2

    data, at, record, found = path.read_bytes(), 7, b"", []
    check("header", data[:7], b":W&B\xe1\xbe\x00")
    while at < len(data):
        if (room := BLOCK - at % BLOCK) < 7:
            at += room
            continue
        checksum, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part = data[at + 7 : at + 7 + length]
        if zlib.crc32(bytes([kind]) + part) != checksum:
            sys.exit(f"a checksum at {at}")
        record += part
        if kind in (1, 4):
            message = wandb_internal_pb2.Record()
            message.ParseFromString(record)
            if message.SerializeToString() != record and not message.WhichOneof("record_type"):
                sys.exit(f"no record at {at}")
            found.append(message)
            record = b""
        at += 7 + length
    print(f"ok: {len(found)} records in {1 + len(data) // BLOCK} blocks")
    return found


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        values = {f"{ARGUMENTS}report_to": "wandb", f"{ARGUMENTS}max_steps": 400, f"{ARGUMENTS}run_name": "mine"}
        values |= {"engine.cache_dir": folder / "cache", "engine.output_dir": folder / "output"}
        settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
        command = [OLIVE, "run", "--config", "configs/quickstart/olive-config.json", *settings]
        run = subprocess.run(command, cwd=ROOT, env=os.environ | {"WANDB_PROJECT": "olives"}, capture_output=True, text=True)
        check("the run succeeds", (run.returncode, run.stderr[-500:] if run.returncode else ""), (0, ""))
        rows = [json.loads(line) for line in (folder / "output/adapter/metrics.jsonl").read_text().splitlines()]
        (offline,) = (folder / "output/adapter/wandb").iterdir()
        (file,) = offline.iterdir()
        kinds = [record.WhichOneof("record_type") for record in records(file)]
        check("kinds", (kinds[:4], kinds.count("history"), kinds[-2:]), (["header", "run", "metric", "metric"], len(rows), ["summary", "exit"]))

        environment = os.environ | {"WANDB_BASE_URL": address, "WANDB_API_KEY": "0" * 40, "HOME": str(folder)}
        sync = [str(pathlib.Path(sys.executable).parent / "wandb"), "sync", str(offline)]
        synced = subprocess.run(sync, env=environment, capture_output=True, text=True, timeout=120)
        check("wandb sync", (synced.returncode, synced.stderr[-500:] if synced.returncode else ""), (0, ""))
        upserted = Service.upserted[0]
        check("the run", (upserted["project"], upserted["name"], upserted["displayName"]), ("olives", offline.name.split("-")[-1], "mine"))
        check("its options", json.loads(upserted["config"])["max_steps"]["value"], 400)
        lines = [line for part in Service.streamed for line in part.get("files", {}).get("wandb-history.jsonl", {}).get("content", [])]
        found = [(line["train/global_step"], line.get("train/loss", line.get("eval/loss"))) for line in map(json.loads, lines)]
        check(f"{len(rows)} rows", found, [(row["step"], row["loss"]) for row in rows])
        check("the end", [part["exitcode"] for part in Service.streamed if part.get("complete")], [0])


main()
