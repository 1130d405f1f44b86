#!/usr/bin/env python3
"""Has `olive serve` answer in the form of JSON schemas, and looks at the answers with another program's idea of them.

usage: check-json.py MODEL [OLIVE]
needs: pip install jsonschema; OLIVE is the program, target/release/olive by default

Every schema is asked for greedily and with chance, by itself and several at a time. An answer that the model ended must be valid by
`jsonschema`; one that the limit cut must begin a document. Then the speed of answers of the same length with and without a schema, in turn.
Prints what was checked; exit code 1 at the first difference.
"""
import concurrent.futures
import json
import pathlib
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import jsonschema

MODEL = sys.argv[1]
OLIVE = sys.argv[2] if len(sys.argv) > 2 else str(pathlib.Path(__file__).resolve().parent.parent / "target/release/olive")
TEXT = {"type": "string", "maxLength": 20}


def record(properties, required=None, **more):
    return {"type": "object", "properties": properties, "required": required or list(properties), "additionalProperties": False} | more


SCHEMAS = {
    "flat": record({"name": TEXT, "age": {"type": "integer", "minimum": 0, "maximum": 130}}),
    "optional": record({"a": TEXT, "b": {"type": "boolean"}, "c": {"type": "null"}}, ["b"]),
    "nested": record({"person": record({"name": TEXT, "home": record({"town": TEXT})})}),
    "enum": {"enum": ["red", "green", 3, None, False, {"a": [1]}]},
    "const": record({"kind": {"const": "olive"}}),
    "integers": {"type": "array", "items": {"type": "integer", "minimum": -5, "maximum": 5}, "minItems": 2, "maxItems": 4},
    "numbers": {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "minItems": 1, "maxItems": 2},
    "multiples": {"type": "integer", "multipleOf": 5, "minimum": 10, "maximum": 90},
    "tuple": {"type": "array", "prefixItems": [TEXT, {"type": "boolean"}], "items": False, "minItems": 2},
    "any of": {"anyOf": [{"type": "null"}, record({"x": {"type": "integer", "minimum": 0, "maximum": 9}})]},
    "one of": {"oneOf": [record({"k": {"const": "a"}, "v": TEXT}), record({"k": {"const": "b"}, "v": {"type": "boolean"}})]},
    "all of": {"allOf": [{"type": "integer", "minimum": 3}, {"type": "integer", "maximum": 8}]},
    "types": {"type": ["boolean", "null"]},
    "pattern": record({"code": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,4}$"}}),
    "date": record({"day": {"type": "string", "format": "date"}, "at": {"type": "string", "format": "date-time"}}),
    "uuid": record({"id": {"type": "string", "format": "uuid"}}),
    "lengths": {"type": "string", "minLength": 3, "maxLength": 5},
    "definitions": record({"a": {"$ref": "#/$defs/p"}, "b": {"$ref": "#/$defs/p"}}, **{"$defs": {"p": record({"v": {"type": "boolean"}})}}),
    "recursive": record({"v": {"type": "boolean"}, "next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}),
    "open": {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": {"type": "boolean"}, "maxProperties": 3},
    "keys": {"type": "object", "patternProperties": {"^k[0-9]$": {"type": "boolean"}}, "additionalProperties": False, "minProperties": 1, "maxProperties": 2},
    "unicode": record({"größe": {"enum": ["klein – ß", "日本", "\"\\/\n\u0001"]}}),
}


class Server:
    def __init__(self):
        command = [OLIVE, "serve", "--quiet", "--port", "0", "--served-model-name", "checked", MODEL]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.base = self.process.stdout.readline().strip()
        while True:
            try:
                urllib.request.urlopen(self.base + "/health")
                return
            except urllib.error.HTTPError:
                time.sleep(0.2)

    def complete(self, prompt, **fields):
        body = {"model": "checked", "prompt": prompt, "temperature": 0, "max_tokens": 160} | fields
        request = urllib.request.Request(self.base + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
        try:
            answer = json.load(urllib.request.urlopen(request))
        except urllib.error.HTTPError as error:
            sys.exit(f"{fields}: {error.read().decode()}")
        return answer


def form(schema):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}


def check(server, name, schema, seed):
    checker = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    answer = server.complete(f"An example of {name} as JSON:", response_format=form(schema), seed=seed, temperature=[0, 1, 1.5][seed])
    choice = answer["choices"][0]
    text, whole = choice["text"], choice["finish_reason"] == "stop"
    if not whole:
        return 0
    try:
        checker.validate(json.loads(text))
    except (json.JSONDecodeError, jsonschema.ValidationError) as error:
        sys.exit(f"DIFFERS: {name}: {text!r}: {error}")
    return 1


def speed(server):
    """Tokens per second of text, of a long string by a schema, and of any object."""
    forms = {
        "text": None,
        "a string by a schema": form({"type": "array", "items": {"type": "string", "minLength": 2000}, "minItems": 1}),
        "numbers by a schema": form({"type": "array", "items": {"type": "integer"}, "minItems": 500}),
    }
    rates = {name: [] for name in forms}
    for turn in range(6):
        for name, wanted in forms.items():
            fields = {"ignore_eos": True, "max_tokens": 128, "seed": turn, "temperature": 1} | ({"response_format": wanted} if wanted else {})
            start = time.monotonic()
            tokens = server.complete("The olive tree", **fields)["usage"]["completion_tokens"]
            if turn:
                rates[name].append(tokens / (time.monotonic() - start))
    for name, values in rates.items():
        print(f"{name}: {statistics.median(values):.0f} tokens/s (of {len(values)}: {min(values):.0f} to {max(values):.0f})")


def main():
    server = Server()
    try:
        work = [(name, schema, seed) for seed in range(3) for name, schema in SCHEMAS.items()]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            whole = sum(pool.map(lambda one: check(server, *one), work))
        print(f"{len(SCHEMAS)} schemas, {len(work)} answers: {whole} whole and valid, {len(work) - whole} cut by the limit")
        if whole < len(work) * 0.8:
            sys.exit("DIFFERS: too few answers came to an end")
        speed(server)
    finally:
        server.process.terminate()
        server.process.wait()


main()
