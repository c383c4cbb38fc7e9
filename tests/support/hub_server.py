"""A hub on this machine: accounts, repositories, LFS and commits, and what it was asked."""

import base64
import hashlib
import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "hf_" + "abcdefghij" * 4
LARGE = 10_000  # bytes from which a file goes through LFS


class Hub:
    """`repositories`: name -> {"private": bool, "files": {name: bytes}, "sha": str}.

    `fails` maps the start of "METHOD /path" to a status that is answered instead.
    """

    def __init__(self):
        self.repositories, self.objects, self.fails, self.asked = {}, {}, {}, []
        self.commits = []  # (repository, message, names)
        self.lost = False  # answers that a commit was made, and all after it

    def add(self, name, *, private, files=()):
        self.repositories[name] = {"private": private, "files": dict(files), "sha": "a" * 40}

    def answer(self, method, path, headers, body):
        """(status, JSON)"""
        self.asked.append(f"{method} {path}")
        for start, status in self.fails.items():
            if f"{method} {path}".startswith(start):
                return status, {"error": f"no, {headers.get('Authorization')}"}
        if path.startswith("/objects/"):  # where LFS was sent to
            self.objects[path.removeprefix("/objects/")] = body
            return 200, {}
        if path == "/api/validate-yaml":
            return 200, {"errors": [], "warnings": []}
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith(".git/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [*map(self._upload, _objects(body))]}
        name, _, action = path.removeprefix("/api/models/").partition("/preupload/")
        if action:
            return 200, {"files": [*map(_mode, json.loads(body)["files"])]}
        name, _, action = name.partition("/commit/")
        if action:
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        if self.lost and method == "GET" and self.commits:
            return 400, {}
        if name not in self.repositories:
            return 404, {"error": "Repository not found"}
        found = self.repositories[name]
        names = [{"rfilename": file} for file in found["files"]]
        return 200, {"id": name, "private": found["private"], "sha": found["sha"],
                     "siblings": names, "tags": [], "modelId": name}  # fmt: skip

    def _create(self, wanted):
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] != "me":
            return 403, {"error": "You don't have the rights to create a model there"}
        self.add(name, private=wanted.get("visibility") == "private")
        return 200, {"url": f"{self.url}/{name}", "name": name}

    def _upload(self, one):
        place = f"{self.url}/objects/{one['oid']}"
        return {"oid": one["oid"], "size": one["size"], "actions": {"upload": {"href": place}}}

    def _commit(self, name, lines):
        found, names = self.repositories[name], []
        head = lines[0]["value"]
        if head.get("parentCommit") not in (None, found["sha"]):
            return 412, {"error": "A commit has happened since"}
        for line in lines[1:]:
            value = line["value"]
            names.append(value["path"])
            if line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                assert hashlib.sha256(content).hexdigest() == value["oid"]
            else:
                content = base64.b64decode(value["content"])
            found["files"][value["path"]] = content
        self.commits.append((name, head["summary"], sorted(names)))
        oid = f"{len(self.commits):040x}"
        found["sha"] = oid
        if self.lost:
            return 400, {}
        return 200, {
            "success": True,
            "commitOid": oid,
            "commitUrl": f"{self.url}/{name}/commit/{oid}",
        }


def _objects(body):
    return json.loads(body)["objects"]


def _mode(file):
    large = file["size"] >= LARGE or file["path"].endswith(".safetensors")
    return {"path": file["path"], "uploadMode": "lfs" if large else "regular",
            "shouldIgnore": False, "oid": None}  # fmt: skip


@contextmanager
def serving():
    hub = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, found = hub.answer(self.command, self.path.split("?")[0], self.headers, body)
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            if status == 404:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = _any

        def log_message(self, *_):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.daemon_threads = True
    hub.url = f"http://127.0.0.1:{listener.server_port}"
    thread = threading.Thread(target=listener.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def publish(*words, url="http://127.0.0.1:9", token=TOKEN, **environment):
    """What `python -m anima_exp.publish` does there: (exit status, stdout, stderr)."""
    own = {
        "HF_ENDPOINT": url,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",  # its protocol is a library's own; LFS is the hub's other way
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_TOKEN": token,
        "HF_TOKEN_PATH": "/nowhere",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-m", "anima_exp.publish", *words],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        env=os.environ | own | environment,
        timeout=60,
    )
    assert TOKEN not in done.stdout + done.stderr
    return done.returncode, done.stdout, done.stderr
