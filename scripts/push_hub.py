"""A server that takes models as the Hugging Face Hub does, for scripts/check-push.py: repositories, branches, commits, and a storage on
another port, whole and in parts. Everything is in memory. `tests/cli/push/hub.rs` is the same for the tests.
"""
import base64
import hashlib
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PUBLIC = "https://huggingface.co"
PART = 1_000_000


class Repo:
    def __init__(self, private):
        self.private = private
        self.commits = [("initial commit", {".gitattributes": ("regular", b"*.safetensors filter=lfs\n")})]
        self.branches = {"main": 0}

    def tree(self, branch):
        return self.commits[self.branches[branch]][1]


class Hub:
    def __init__(self, token):
        self.token = token
        self.repos = {}
        self.objects = {}
        self.parts = {}
        self.requests = []
        self.lock = threading.Lock()
        self.endpoint, self.storage = self.listen(), self.listen()

    def listen(self):
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path = urllib.parse.urlsplit(self.path)
                with hub.lock:
                    status, headers, answer = hub.answer(self.command, path.path, path.query, self.headers, body)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_PUT = handle_any

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def answer(self, method, path, query, headers, body):
        self.requests.append((method, path, body))
        if path.startswith("/storage/"):
            assert "Authorization" not in headers, "the token is not for the storage"
            return self.store(method, path.split("/")[2:], body)
        if headers.get("Authorization") != f"Bearer {self.token}":
            return error(401, "Invalid credentials in Authorization header")
        data = json.loads(body) if body.startswith(b"{") and "/commit/" not in path else None
        if path == "/api/validate-yaml":
            return reply({"errors": [], "warnings": []})
        if path == "/api/repos/create":
            return self.create(data)
        if found := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            return self.batch(data) if found[1] in self.repos else missing()
        if found := re.fullmatch(r"/verify/(.*)", path):
            is_there = len(self.objects.get(found[1], b"")) == data["size"]
            return reply({}, 200 if is_there else 404)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/(revision|preupload|commit)/([^/]+))?", path)
        assert found, f"{method} {path}"
        repo = self.repos.get(found[1])
        branch = urllib.parse.unquote(found[3] or "main")
        if repo is None:
            return missing()
        if branch not in repo.branches:
            return error(404, "Invalid rev id", "RevisionNotFound")
        if found[2] == "preupload":
            return reply({"files": [about(file, repo.tree(branch)) for file in data["files"]]})
        if found[2] == "commit":
            return self.commit(found[1], branch, body)
        sha = f"{repo.branches[branch]:040x}"
        return reply({"id": found[1], "private": repo.private, "sha": sha, "siblings": [], "tags": []})

    def create(self, data):
        name = f"{data['organization']}/{data['name']}"
        if name in self.repos:
            return error(409, "You already created this model repo", body={"url": f"{self.endpoint}/{name}"})
        self.repos[name] = Repo(data.get("visibility") == "private")
        return reply({"url": f"{self.endpoint}/{name}"})

    def batch(self, data):
        assert data["operation"] == "upload" and data["hash_algo"] == "sha256", data
        objects = []
        for asked in data["objects"]:
            oid, size = asked["oid"], asked["size"]
            told = {"oid": oid, "size": size}
            if oid not in self.objects:
                upload = {"href": f"{self.storage}/storage/whole/{oid}"}
                if size > PART:
                    count = -(-size // PART)
                    header = {f"{n:05}": f"{self.storage}/storage/part/{oid}/{n}" for n in range(1, count + 1)}
                    upload = {"href": f"{self.storage}/storage/complete/{oid}", "header": {"chunk_size": str(PART)} | header}
                told["actions"] = {"upload": upload, "verify": {"href": f"{PUBLIC}/verify/{oid}"}}
            objects.append(told)
        return reply({"transfer": "basic", "objects": objects})

    def store(self, method, path, body):
        kind, oid, *part = path
        if (method, kind) == ("PUT", "part"):
            self.parts[oid, int(part[0])] = body
            return reply({}, headers={"ETag": f'"{sha256(body)}"'})
        if (method, kind) == ("POST", "complete"):
            parts = json.loads(body)["parts"]
            pieces = [self.parts.pop((oid, n)) for n in range(1, len(parts) + 1)]
            assert [part["etag"] for part in parts] == [f'"{sha256(piece)}"' for piece in pieces]
            body = b"".join(pieces)
        assert sha256(body) == oid, "the storage looks at what arrives"
        self.objects[oid] = body
        return reply({})

    def commit(self, name, branch, body):
        repo = self.repos[name]
        header, *lines = (json.loads(line) for line in body.splitlines())
        assert header["key"] == "header", header
        tree = dict(repo.tree(branch))
        for line in lines:
            value = line["value"]
            if line["key"] == "file":
                assert value["encoding"] == "base64", value
                tree[value["path"]] = ("regular", base64.b64decode(value["content"]))
            else:
                assert line["key"] == "lfsFile" and value["algo"] == "sha256", line
                assert len(self.objects[value["oid"]]) == value["size"]
                tree[value["path"]] = ("lfs", value["oid"])
        assert tree != repo.tree(branch), "no empty commit"
        repo.commits.append((header["value"]["summary"], tree))
        repo.branches[branch] = len(repo.commits) - 1
        oid = f"{repo.branches[branch]:040x}"
        url = f"{self.endpoint}/{name}/commit/{oid}"
        return reply({"success": True, "commitOid": oid, "commitUrl": url, "pullRequestUrl": None})


def about(file, tree):
    """Where a file is kept, and what is there."""
    sample = base64.b64decode(file["sample"])
    assert len(sample) == min(512, file["size"])
    mode = "lfs" if file["path"].endswith(".safetensors") or b"\0" in sample else "regular"
    oid = None
    if file["path"] in tree:
        kind, content = tree[file["path"]]
        oid = content if kind == "lfs" else hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid}


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def reply(body, status=200, headers={}):
    return status, {"Content-Type": "application/json"} | headers, json.dumps(body).encode()


def error(status, message, code=None, body={}):
    return reply({"error": message} | body, status, {"X-Error-Code": code} if code else {})


def missing():
    return error(404, "Repository not found", "RepoNotFound")
