#!/usr/bin/env python3
"""Drives the fake of Azure ML, which tests use, with Microsoft's own SDK: whether it is what the SDK takes it for.

usage: check-azureml-fake.py
needs: pip install azure-ai-ml==1.35.2 azure-keyvault-secrets==4.12.0; cargo

A job with code, a file, a value and an output is submitted, watched, downloaded and registered as a model; another one fails, a third is
cancelled, and all are listed. A model of a registry is downloaded. A secret is read that is there, and one that is not. Prints what was checked; exit code 1 at the first difference.
"""
import contextlib
import io
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
FILES = {"run.sh": 'tr a-z A-Z < "$1" > "$2/out.txt"; echo "$GREETING $3"\n', "lib/empty.txt": ""}


def start():
    command = ["cargo", "run", "--quiet", "-p", "olive-azureml-fake", "--example", "serve"]
    server = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    lines = iter(server.stdout.readline, "\n")
    return server, dict(line.rstrip("\n").split("=", 1) for line in lines)


def client(variables):
    """The SDK, led to the fake. It takes tokens and blobs over https only, unless it is told otherwise before it is loaded."""
    os.environ["AZUREML_DEV_URL_MFE"] = variables["AZUREML_DEV_URL_MFE"]
    os.environ["AZUREML_RUN_POLLING_INTERVAL_MAX"] = "1"
    import azure.core.pipeline.policies._authentication as authentication

    authentication._enforce_https = lambda request: request.context.options.pop("enforce_https", None)
    from azure.ai.ml import MLClient
    from azure.ai.ml.constants import _common
    from azure.core.credentials import AccessToken

    for kind in _common.STORAGE_ACCOUNT_URLS:
        _common.STORAGE_ACCOUNT_URLS[kind] = variables["OLIVE_AZUREML_BLOB_URL"] + "/{0}"

    # The SDK would sign addresses of logs itself, with the account's key, which is none. Those of run history are signed.
    from azure.ai.ml.operations import _job_ops_helper

    _job_ops_helper.get_datastore_info = lambda *_, **__: None

    class Credential:
        def get_token(self, *scopes, **_):
            form = {"grant_type": "client_credentials", "client_id": variables["AZURE_CLIENT_ID"],
                    "client_secret": variables["AZURE_CLIENT_SECRET"], "scope": scopes[0]}
            address = f"{variables['AZURE_AUTHORITY_HOST']}/{variables['AZURE_TENANT_ID']}/oauth2/v2.0/token"
            with urllib.request.urlopen(address, urllib.parse.urlencode(form).encode()) as answer:
                token = json.load(answer)
            return AccessToken(token["access_token"], int(time.time()) + token["expires_in"])

    credential = Credential()
    return credential, MLClient(credential, "00000000-1111-2222-3333-444444444444", "rg1", "ws1", enable_telemetry=False)


def job(folder, name, text):
    from azure.ai.ml import Input, Output, command
    from azure.ai.ml.entities import Environment, UserIdentityConfiguration

    return command(
        name=name, code=str(folder / "code"), command=text, compute="gpu-cluster", environment=Environment(image="image:1"),
        inputs={"train": Input(type="uri_file", path=str(folder / "train.json")), "rate": 0.5},
        outputs={"model": Output(type="uri_folder")}, environment_variables={"GREETING": "hello"},
        identity=UserIdentityConfiguration(), tags={"Pass": "LoRA"}, experiment_name="olive-pass")


def equal(what, found, expected):
    if found != expected:
        sys.exit(f"{what}: {found!r} instead of {expected!r}")
    print(f"{what}: {found!r}")


def streamed(sdk, name):
    """What the SDK prints while it watches, and how it ends."""
    from azure.ai.ml.exceptions import JobException

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        try:
            sdk.jobs.stream(name)
        except JobException as failure:
            return printed.getvalue(), str(failure)
    return printed.getvalue(), ""


def main(sdk, folder):
    from azure.ai.ml.entities import Model

    for name, text in FILES.items():
        (folder / "code" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "code" / name).write_text(text)
    (folder / "train.json").write_text('{"q": 1}\n')
    # The SDK shows logs of jobs that it saw running only.
    run = "sleep 5; bash run.sh ${{inputs.train}} ${{outputs.model}} ${{inputs.rate}}"
    made = sdk.jobs.create_or_update(job(folder, "sdk-1", run))
    equal("submitted", made.name, "sdk-1")
    printed, failure = streamed(sdk, "sdk-1")
    equal("log", [line for line in printed.splitlines() if line.startswith("hello")], ["hello 0.5"])
    equal("failure", failure, "")
    equal("status", sdk.jobs.get("sdk-1").status, "Completed")
    sdk.jobs.download("sdk-1", download_path=folder / "got", output_name="model")
    equal("output", (folder / "got/named-outputs/model/out.txt").read_text(), '{"Q": 1}\n')
    sdk.jobs.create_or_update(job(folder, "sdk-2", "echo no disk >&2; sleep 5; exit 3 # ${{inputs.train}}"))
    printed, failure = streamed(sdk, "sdk-2")
    equal("failure of a command", "exit status: 3" in failure, True)
    equal("its log", "no disk" in printed, True)
    sdk.jobs.create_or_update(job(folder, "sdk-3", "exec sleep 600 # ${{inputs.train}}"))
    sdk.jobs.begin_cancel("sdk-3").result()
    streamed(sdk, "sdk-3")
    equal("cancelled", sdk.jobs.get("sdk-3").status, "Canceled")
    equal("list", sorted(job.name for job in sdk.jobs.list()), ["sdk-1", "sdk-2", "sdk-3"])
    path = "azureml://jobs/sdk-1/outputs/model/paths/"
    model = sdk.models.create_or_update(Model(path=path, name="tiny", version="1", type="custom_model"))
    equal("model", sdk.models.get("tiny", label="latest").path, model.path)


def registry(credential, variables, folder):
    from azure.ai.ml import MLClient
    from azure.ai.ml._utils import _registry_utils, _storage_utils

    _registry_utils._get_registry_discovery_endpoint_from_metadata = lambda _: variables["OLIVE_AZUREML_REGISTRY_URL"]
    # Account, container and path of a blob, which the SDK takes from addresses with https only.
    _storage_utils.STORAGE_URI_REGEX = variables["OLIVE_AZUREML_BLOB_URL"] + "/([^/]+)/([^/]+)/(.*)"
    models = MLClient(credential, registry_name="models-of-all", enable_telemetry=False).models
    equal("model of a registry", models.get("shared", "1").type, "custom_model")
    models.download("shared", "1", folder / "shared")
    equal("its file", [path.read_text() for path in (folder / "shared").rglob("config.json")], ["{}"])


def secrets(credential, variables):
    from azure.core.exceptions import ResourceNotFoundError
    from azure.keyvault.secrets import SecretClient
    from azure.keyvault.secrets._shared import challenge_auth_policy

    challenge_auth_policy._enforce_tls = lambda request: None
    address = variables["OLIVE_AZUREML_KEY_VAULT_URL"]
    vault = SecretClient(address, credential, verify_challenge_resource=False)
    equal("secret", vault.get_secret("hf-token").value, "hf_fake")
    try:
        vault.get_secret("none")
    except ResourceNotFoundError as error:
        equal("no secret", error.error.code, "SecretNotFound")


if __name__ == "__main__":
    server, variables = start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            credential, sdk = client(variables)
            secrets(credential, variables)
            registry(credential, variables, pathlib.Path(folder))
            main(sdk, pathlib.Path(folder))
    finally:
        server.stdin.close()
        server.wait()
