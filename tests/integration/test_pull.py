"""`pull` against a local server that speaks the hub's protocol: whole, resumed, damaged, refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

HUB_ID = "someone/small-model"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "smolvlm"}',
    "model.safetensors": bytes(range(256)) * 100_000,
    "small-Q8_0.gguf": b"GGUF text",
    "mmproj-small-Q8_0.gguf": b"GGUF tower",
    "small-F16.gguf": b"GGUF wide",
}
"""Published files; weights of 26 MB, more than two of the client's blocks of 10 MB."""


class Hub(BaseHTTPRequestHandler):
    """The few answers that a download needs."""

    served: dict[str, bytes]
    break_after: int | None
    requests: list[str]

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, *_arguments: object) -> None:
        """Keep the test output clean."""

    def _answer(self, *, body: bool) -> None:
        path = self.path.partition("?")[0]
        self.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}")
        if path.startswith("/api/models/someone/small-model"):
            answer = self._tree() if "/tree/" in path else self._description()
            self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"}, body)
        elif path.startswith(f"/{HUB_ID}/resolve/"):
            self._file(path.rpartition("/")[2], body)
        else:
            headers = {"X-Error-Code": "RepoNotFound", "Content-Type": "application/json"}
            self._send(404, b'{"error": "Repository not found"}', headers, body)

    def _description(self) -> dict[str, object]:
        siblings: list[dict[str, object]] = []
        for name, content in FILES.items():
            entry: dict[str, object] = {"rfilename": name, "size": len(content), "blobId": "0" * 40}
            if name.endswith((".safetensors", ".gguf")):
                digest = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": digest, "size": len(content), "pointerSize": 100}
            siblings.append(entry)
        return {"_id": "1", "id": HUB_ID, "modelId": HUB_ID, "sha": COMMIT, "siblings": siblings, "private": False,
                "downloads": 0, "likes": 0, "tags": []}  # fmt: skip

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40} for name, content in FILES.items()
        ]

    def _file(self, name: str, body: bool) -> None:
        content = self.served[name]
        etag = hashlib.sha256(FILES[name]).hexdigest()
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"', "X-Linked-Size": str(len(content))}
        wanted = self.headers.get("Range")
        start = int(wanted.removeprefix("bytes=").partition("-")[0]) if wanted else 0
        if wanted:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._send(206 if wanted else 200, content[start:], headers, body)

    def _send(self, code: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(code)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body and self.break_after is not None and len(content) > self.break_after:
            self.wfile.write(content[: self.break_after])
            self.wfile.flush()
            self.connection.close()  # the line breaks in the middle of the file
        elif body:
            self.wfile.write(content)


@pytest.fixture
def hub() -> Iterator[tuple[type[Hub], str]]:
    handler = type("OneHub", (Hub,), {"served": dict(FILES), "break_after": None, "requests": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def pull(endpoint: str, hub_id: str = HUB_ID, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).with_name("seatrial"), "see", "pull", hub_id, *options]
    hub_home = str(Path(os.environ["SEATRIAL_HOME"]) / "hub")
    settings = {"HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "3", "HF_HOME": hub_home}
    environment = {**os.environ, **settings, **environment}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)


def folder_of(private_home: Path) -> Path:
    return private_home / "models" / "someone--small-model"


def test_whole(hub: tuple[type[Hub], str], private_home: Path) -> None:
    done = pull(hub[1])
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(folder_of(private_home))
    for name in ("config.json", "model.safetensors"):
        assert (folder_of(private_home) / name).read_bytes() == FILES[name]
    assert not list(folder_of(private_home).glob("*.gguf"))


def test_gguf_of_one_type(hub: tuple[type[Hub], str], private_home: Path) -> None:
    done = pull(hub[1], HUB_ID, "--gguf", "*Q8_0*")
    assert done.returncode == 0, done.stderr
    fetched = {file.name for file in folder_of(private_home).iterdir() if file.is_file()}
    assert fetched == {"small-Q8_0.gguf", "mmproj-small-Q8_0.gguf"}


def test_gguf_of_no_type(hub: tuple[type[Hub], str]) -> None:
    done = pull(hub[1], HUB_ID, "--gguf", "*Q2_K*")
    assert done.returncode == 1
    assert "error: someone/small-model has no GGUF file that matches '*Q2_K*'." in done.stderr
    assert "small-F16.gguf" in done.stderr


def test_damaged_gguf_is_removed(hub: tuple[type[Hub], str], private_home: Path) -> None:
    hub[0].served["small-F16.gguf"] = b"GGUF wide!"[:-1].upper()
    done = pull(hub[1], HUB_ID, "--gguf", "*F16*")
    assert done.returncode == 1
    assert "small-F16.gguf arrived damaged" in done.stderr
    assert not (folder_of(private_home) / "small-F16.gguf").exists()


def test_damaged_on_the_way_is_removed(hub: tuple[type[Hub], str], private_home: Path) -> None:
    hub[0].served["model.safetensors"] = FILES["model.safetensors"][:-1] + b"X"
    done = pull(hub[1])
    assert done.returncode == 1
    assert "model.safetensors arrived damaged" in done.stderr
    assert not (folder_of(private_home) / "model.safetensors").exists()


def test_unknown_model(hub: tuple[type[Hub], str]) -> None:
    done = pull(hub[1], "someone/else")
    assert done.returncode == 1
    assert "error: The hub has no public model someone/else." in done.stderr


def test_interrupted_pulls_go_on(hub: tuple[type[Hub], str], private_home: Path) -> None:
    handler, endpoint = hub
    handler.break_after = 22_000_000
    first = pull(endpoint)
    handler.break_after = None
    second = pull(endpoint)
    assert second.returncode == 0, first.stderr + second.stderr
    assert (folder_of(private_home) / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert any("bytes=" in request for request in handler.requests), "\n".join(handler.requests)


def test_malformed_id(hub: tuple[type[Hub], str]) -> None:
    done = pull(hub[1], "../../etc")
    assert done.returncode == 1
    assert "is not a hub id" in done.stderr
