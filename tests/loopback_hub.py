"""A model hub on this computer's own loopback address, with everything that can go wrong with a real one."""

from __future__ import annotations

import hashlib
import mmap
import signal
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Seen:
    """One request."""

    method: str
    path: str
    host: str
    range: str | None
    authorization: str | None
    agent: str = ""


@dataclass
class LoopbackHub:
    """Serves files the way the hub does: a redirect to another host, hashes in headers, ranges.

    Attributes:
        files: "owner/name/path" -> content; large ones may be mapped files.
        small: Files that the hub keeps itself: no redirect, and an ETag that is no sha256.
        cuts: For each transfer in turn, after how many bytes the connection breaks; then it holds.
        answers: Statuses with headers that come, in turn, instead of an answer.
        falsified: Send other bytes than the hash in the header says.
        ignores_ranges: Always send whole files.
        pace: Seconds between pieces of 64 kB.
        silent_after: After how many bytes the server says no more; None never.
        token: Only those who send it get files.
        changed: Headers that come with files and redirects in place of the right ones; None leaves one out.
        surplus: Bytes that come after the file's own.
    """

    files: dict[str, bytes | mmap.mmap] = field(default_factory=dict)
    small: set[str] = field(default_factory=set)
    cuts: list[int] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    falsified: bool = False
    ignores_ranges: bool = False
    pace: float = 0.0
    silent_after: int | None = None
    token: str | None = None
    changed: dict[str, str | None] = field(default_factory=dict)
    surplus: int = 0
    seen: list[Seen] = field(default_factory=list)
    hashed: dict[str, tuple[bytes | mmap.mmap, str, str]] = field(default_factory=dict)
    address: str = ""
    far_address: str = ""
    is_closing: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> LoopbackHub:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                hub.answer(self, is_head=True)

            def do_GET(self) -> None:
                hub.answer(self, is_head=False)

            def log_message(self, *_arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.address, self.far_address = f"http://127.0.0.1:{port}", f"http://localhost:{port}"
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def _serve(self) -> None:
        if hasattr(
            signal, "pthread_sigmask"
        ):  # inside Blender a client that leaves would end Blender
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
        self._server.serve_forever(0.01)

    def __exit__(self, *_error: object) -> None:
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()

    def ranges(self) -> list[str | None]:
        """What each transfer asked for."""
        return [seen.range for seen in self.seen if seen.method == "GET"]

    def answer(self, handler: BaseHTTPRequestHandler, *, is_head: bool) -> None:
        """Answer one request."""
        headers = handler.headers
        self.seen.append(
            Seen(
                handler.command,
                handler.path,
                headers.get("Host", ""),
                headers.get("Range"),
                headers.get("Authorization"),
                headers.get("User-Agent", ""),
            )
        )
        if self.answers:
            status, extra = self.answers.pop(0)
            return self._refuse(handler, status, extra)
        # A proxy is asked for whole addresses.
        path = unquote(urlsplit(handler.path).path).strip("/")
        is_far = path.startswith("far/")
        if is_far:
            name = path.removeprefix("far/")
        else:
            if self.token is not None and headers.get("Authorization") != f"Bearer {self.token}":
                return self._refuse(handler, 401, {"X-Error-Code": "GatedRepo"})
            owner, repo, _resolve, revision, rest = path.split("/", 4)
            name = f"{owner}/{repo}/{rest}"
            if name not in self.files or revision not in {"main", COMMIT}:
                return self._refuse(handler, 404, {"X-Error-Code": "EntryNotFound"})
        content = self.files[name]
        sha256, sha1 = self._hashes(name)
        if not is_far and name not in self.small:
            handler.send_response(302)
            self._tell(
                handler,
                {
                    "Location": f"{self.far_address}/far/{name}",
                    "X-Repo-Commit": COMMIT,
                    "X-Linked-Etag": f'"{sha256}"',
                    "X-Linked-Size": str(len(content)),
                },
            )
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return None
        return self._send(handler, content, is_head=is_head, etag=sha1)

    def _tell(self, handler: BaseHTTPRequestHandler, headers: dict[str, str]) -> None:
        for name, value in headers.items():
            said = self.changed.get(name, value)
            if said is not None:
                handler.send_header(name, said)

    def _hashes(self, name: str) -> tuple[str, str]:
        """The sha256 and sha1 of a file; known once for each content, which may be gigabytes."""
        content = self.files[name]
        known = self.hashed.get(name)
        if known is None or known[0] is not content:
            sha256, sha1 = hashlib.sha256(content).hexdigest(), hashlib.sha1(content).hexdigest()
            known = self.hashed[name] = content, sha256, sha1
        return known[1:]

    def _send(
        self,
        handler: BaseHTTPRequestHandler,
        content: bytes | mmap.mmap,
        *,
        is_head: bool,
        etag: str,
    ) -> None:
        begin = 0
        wanted = handler.headers.get("Range")
        if wanted and not self.ignores_ranges:
            begin = int(wanted.removeprefix("bytes=").rstrip("-"))
            if begin >= len(content):
                return self._refuse(handler, 416, {})
        handler.send_response(206 if begin else 200)
        length = len(content) + self.surplus
        headers = {
            "Content-Length": str(length - begin),
            "ETag": f'"{etag}"',
            "X-Repo-Commit": COMMIT,
        }
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{length - 1}/{length}"
        self._tell(handler, headers)
        handler.end_headers()
        if is_head:
            return None
        if self.falsified:
            content = bytes(len(content))
        if self.surplus:
            content = content[:] + bytes(self.surplus)
        if "Content-Length" in self.changed:
            handler.close_connection = True
        end = begin + self.cuts.pop(0) if self.cuts else len(content)
        for at in range(begin, min(end, len(content)), 65536):
            if self.silent_after is not None and at >= self.silent_after:
                self.is_closing.wait(30)
            piece = content[at : min(at + 65536, end)]
            try:
                handler.wfile.write(piece)
                handler.wfile.flush()
            except OSError:
                break
            time.sleep(self.pace)
        if end < len(content):
            handler.close_connection = True
            handler.connection.close()
        return None

    def _refuse(self, handler: BaseHTTPRequestHandler, status: int, extra: dict[str, str]) -> None:
        handler.send_response(status)
        for name, value in extra.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
