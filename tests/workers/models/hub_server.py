"""A small Hugging Face hub on this machine: the file API as a download meets it, with every trouble one asks for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

LARGE_BYTES = 2_000
"""From here on a file is kept apart from Git, as the hub does with weights."""
PIECE_BYTES = 16 * 1024


@dataclass
class Asked:
    """One request for a file's bytes."""

    file: str
    range: str
    token: str
    sent: int = 0


@dataclass
class Repository:
    files: dict[str, bytes]
    commit: str = "c0ffee" + "0" * 34


@dataclass
class LocalHub:
    """What it holds and how it behaves; `asked` is what came."""

    repositories: dict[str, Repository] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    """Paths of everything that was asked."""
    status: int = 0
    """Answer everything with this, if set."""
    statuses: list[int] = field(default_factory=list)
    """Answer the next questions with these."""
    token: str = ""
    """Answer only those who bring it, if set."""
    page: str = ""
    """Answer with this page instead of the hub's JSON, if set."""
    cut_after: dict[str, list[int]] = field(default_factory=dict)
    """Break off the next answers for a file after so many bytes each."""
    other_bytes: dict[str, bytes] = field(default_factory=dict)
    """What is sent in place of the announced file."""
    other_sizes: dict[str, int] = field(default_factory=dict)
    """What is announced in place of a file's size."""
    ranges: bool = True
    hold_at: dict[str, int] = field(default_factory=dict)
    """Wait for `go_on` when so many bytes of a file are out."""
    go_on: threading.Event = field(default_factory=threading.Event)
    url: str = ""
    store_url: str = ""

    def add(self, name: str, files: dict[str, bytes] | Path) -> Repository:
        if isinstance(files, Path):
            files = {
                path.relative_to(files).as_posix(): path.read_bytes() for path in files.rglob("*") if path.is_file()
            }
        repository = self.repositories[name] = Repository(files)
        return repository

    def ranges_asked(self, file: str) -> list[str]:
        return [asked.range for asked in self.asked if asked.file == file]

    def bytes_sent(self, file: str) -> int:
        return sum(asked.sent for asked in self.asked if asked.file == file)


@contextlib.contextmanager
def local_hub() -> Iterator[LocalHub]:
    hub = LocalHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_for(hub))
    server.daemon_threads = True
    # The large files come from another host, as on the hub.
    hub.url, hub.store_url = (f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost"))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()


def git_sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _handler_for(hub: LocalHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):  # the other side broke off, as some tests do
                super().handle()

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            address = urlsplit(self.path)
            parts = unquote(address.path).strip("/").split("/")
            hub.questions.append(self.path)
            if status := hub.statuses.pop(0) if hub.statuses else hub.status:
                self._answer(status, b"{}")
            elif parts[0] == "stored":
                self._file("/".join(parts[1:3]), "/".join(parts[3:]))
            elif hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
                self._answer(401, b"{}", {"X-Error-Message": "Invalid username or password."})
            elif parts[:2] == ["api", "models"] and "/".join(parts[2:4]) in hub.repositories:
                self._info("/".join(parts[2:4]), parse_qs(address.query))
            elif len(parts) >= 5 and parts[2] == "resolve" and "/".join(parts[:2]) in hub.repositories:
                self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
            else:
                self._answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

        def _info(self, name: str, query: dict[str, list[str]]) -> None:
            if hub.page:
                self._answer(200, hub.page.encode(), {"Content-Type": "text/html"})
                return
            repository = hub.repositories[name]
            siblings = [_sibling(hub, file, content, query) for file, content in repository.files.items()]
            self._answer(200, json.dumps({"id": name, "sha": repository.commit, "siblings": siblings}).encode())

        def _resolve(self, name: str, revision: str, file: str) -> None:
            repository = hub.repositories[name]
            if revision not in ("main", repository.commit) or file not in repository.files:
                self._answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
                return
            content = repository.files[file]
            if len(content) < LARGE_BYTES:
                self._file(name, file, {"ETag": f'"{git_sha1(content)}"', "X-Repo-Commit": repository.commit})
                return
            self._answer(
                302,
                b"",
                {
                    "Location": f"{hub.store_url}/stored/{name}/{file}",
                    "X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"',
                    "X-Linked-Size": str(len(content)),
                    "X-Repo-Commit": repository.commit,
                },
            )

        def _file(self, name: str, file: str, headers: dict[str, str] | None = None) -> None:
            content = hub.other_bytes.get(file, hub.repositories[name].files[file])
            asked = Asked(file, self.headers.get("Range", ""), self.headers.get("Authorization", ""))
            hub.asked.append(asked)
            first = int(asked.range.removeprefix("bytes=").split("-")[0] or 0) if asked.range and hub.ranges else 0
            headers = {**(headers or {}), "Content-Length": str(len(content) - first)}
            if first >= len(content) and asked.range:
                self._answer(416, b"")
                return
            if asked.range and hub.ranges:
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self._head(206 if asked.range and hub.ranges else 200, headers)
            if self.command == "GET":
                self._send(asked, content[first:])

        def _send(self, asked: Asked, content: bytes) -> None:
            cuts = hub.cut_after.get(asked.file)
            end = cuts.pop(0) if cuts else len(content)
            hold_at = hub.hold_at.pop(asked.file, None)
            with contextlib.suppress(ConnectionError):
                while asked.sent < min(end, len(content)):
                    if hold_at is not None and asked.sent >= hold_at:
                        self.wfile.flush()
                        hub.go_on.wait()
                    piece = content[asked.sent : min(asked.sent + PIECE_BYTES, end)]
                    self.wfile.write(piece)
                    asked.sent += len(piece)
            if end < len(content):
                self.close_connection = True

        def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
            self._head(status, {**(headers or {}), "Content-Length": str(len(body))})
            if self.command == "GET":
                self.wfile.write(body)

        def _head(self, status: int, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _sibling(hub: LocalHub, file: str, content: bytes, query: dict[str, list[str]]) -> dict[str, Any]:
    sibling: dict[str, Any] = {"rfilename": file}
    size = hub.other_sizes.get(file, len(content))
    if query.get("blobs") == ["true"]:
        sibling |= {"size": size, "blobId": git_sha1(content)}
        if len(content) >= LARGE_BYTES:
            pointer = {"sha256": hashlib.sha256(content).hexdigest(), "size": size, "pointerSize": 134}
            sibling |= {"lfs": pointer, "blobId": git_sha1(json.dumps(pointer).encode())}
    return sibling
