"""Fetch one file over HTTP so that it can be cancelled, resumed and trusted. Knows nothing of models.

Our own client on the standard library instead of huggingface_hub, because a worker thread needs what that
package does not give: it has no way to stop a transfer but an exception thrown from inside its progress bar,
waits out its time limits when a server falls silent, and brings eleven packages along, one of them compiled,
which would have to be in the extension for every system. What we need of the hub's protocol is small: one
address per file and revision, the file's hash in a header of its first answer, and ranges.

The bytes are read by a thread of their own, so that the caller can leave within a tenth of a second even
while the system waits for a name to be looked up or for a server that says nothing. That thread never writes:
what was abandoned can do no harm and ends at its next byte or time limit.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import logging
import queue
import shutil
import signal
import socket
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from typing import TypeVar, cast
from urllib.parse import urljoin, urlsplit

from .errors import WeightsError

logger = logging.getLogger(__name__)
T = TypeVar("T")

CHUNK = 1 << 18  # bytes read at a time
TICK = 0.1  # seconds between two looks at whether to go on
SILENCE = 20.0  # seconds without a byte after which a connection counts as broken
RETRY_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each new try without any progress in between
LONGEST_WAIT = 120.0  # seconds we wait for a server that says it is busy
BUSY_TRIES = 3
MOST_REDIRECTS = 5
SPARE = 100_000_000  # bytes that stay free on the disk
FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
WINDOWS_FULL_DISK = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL

Progress = Callable[[int, int | None], None]
Check = Callable[[], None]


class Refused(WeightsError):
    """The server answered, and the answer was no.

    Attributes:
        status: The HTTP status.
        reason: The hub's short code such as "GatedRepo", or empty.
    """

    def __init__(self, message: str, status: int, reason: str = "") -> None:
        super().__init__(message)
        self.status, self.reason = status, reason


@dataclass(frozen=True, slots=True)
class Remote:
    """What the first answer tells of a file.

    Attributes:
        size: Bytes, or None when the server does not say.
        sha256: Of the whole file, or None when the server does not say.
        revision: The hub's commit, or None elsewhere.
        tag: Tells two contents of the same address apart; empty when the server gives none.
    """

    size: int | None
    sha256: str | None
    revision: str | None
    tag: str


class _Broken(Exception):
    """The connection failed in a way that a new one may cure."""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        """Leave redirects to us: the token must not follow them to another server."""


def look_up(url: str, token: str | None, check: Check) -> Remote:
    """Ask what a file is without fetching it.

    Args:
        url: https, or http on this computer.
        token: Sent to that server only, never to where it redirects.
        check: Called at least ten times a second; raises to stop.

    Raises:
        Refused: The server says no.
        WeightsError: The server cannot be reached.
    """
    headers = _persistently(
        lambda: _call("HEAD", url, token, {}, check, is_lookup=True), url, check
    )
    etag = _tag(headers.get("X-Linked-Etag") or headers.get("ETag") or "")
    size = headers.get("X-Linked-Size")
    if size is None and headers.get("Location") is None:  # else it is the redirect's own length
        size = headers.get("Content-Length")
    return Remote(
        size=int(size) if size is not None and size.isdigit() else None,
        sha256=etag if _is_sha256(etag) else None,
        revision=headers.get("X-Repo-Commit"),
        tag=etag,
    )


def download(
    url: str,
    target: Path,
    remote: Remote,
    sha256: str | None,
    token: str | None,
    progress: Progress,
    extra_space: int = 0,
) -> str:
    """Fetch a file, going on where an earlier try stopped; returns its sha256.

    While it arrives it is called ``partial_path(target, remote)``. It gets its own name when it is
    complete and its hash is right.

    Args:
        url: https, or http on this computer.
        target: Where it goes; its folder exists.
        remote: From ``look_up``.
        sha256: What the file must have; None takes the server's word, or anything without it.
        token: Sent to that server only.
        progress: Called at least ten times a second with the bytes here and the bytes in all; raises to
            stop, and what has arrived is kept.
        extra_space: Bytes that the caller will need on that disk beside the file.

    Raises:
        Refused: The server says no.
        WeightsError: The connection keeps breaking, the disk is full, or what arrived is not that file.
    """
    partial = partial_path(target, remote)
    for other in target.parent.glob(f"{target.name}.*.incomplete"):
        if other != partial:  # of another content of the same address
            other.unlink()
    digest, have = hashlib.sha256(), 0
    with _disk(target.parent):
        if partial.exists():
            for chunk in _read(partial):
                digest.update(chunk)
                have += len(chunk)
                progress(have, remote.size)
    if remote.size is not None:
        require_space(target.parent, remote.size - have + extra_space)
    if remote.size is None or have < remote.size:
        digest = _receive(url, partial, remote, token, digest, have, progress)
    found, size = digest.hexdigest(), partial.stat().st_size
    expected = sha256 or remote.sha256
    if (remote.size is not None and size != remote.size) or (expected and found != expected):
        partial.unlink()
        raise WeightsError(
            f"What arrived is not {target.name} as published ({size:,} bytes, sha256 {found[:8]}"
            f" instead of {(expected or 'unknown')[:8]}): it was removed. Download it again."
        )
    with _disk(target.parent):
        partial.replace(target)
    return found


def partial_path(target: Path, remote: Remote) -> Path:
    """The name a file has while it arrives."""
    tag = hashlib.sha256(f"{remote.tag} {remote.size}".encode()).hexdigest()[:12]
    return target.with_name(f"{target.name}.{tag}.incomplete")


def require_space(folder: Path, needed: int) -> None:
    """Make sure that the disk has room.

    Raises:
        WeightsError: It has not.
    """
    free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise WeightsError(
            f"{(needed + SPARE) / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free:"
            " free some space or choose another Models Folder in the preferences."
        )


def hash_file(path: Path, progress: Progress) -> str:
    """The sha256 of a file; ``progress`` is called for every piece and raises to stop."""
    digest, have, size = hashlib.sha256(), 0, path.stat().st_size
    for chunk in _read(path):
        digest.update(chunk)
        have += len(chunk)
        progress(have, size)
    return digest.hexdigest()


def is_full_disk(error: OSError) -> bool:
    """Whether an error means that the disk is full."""
    return error.errno in FULL_DISK or getattr(error, "winerror", None) in WINDOWS_FULL_DISK


class _disk:  # noqa: N801 - used as a statement
    """Turn what the file system raises into a sentence."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            raise disk_failure(error, self._folder) from error


def disk_failure(error: OSError, folder: Path) -> WeightsError:
    """A sentence for what the file system raised."""
    if is_full_disk(error):
        return WeightsError(
            f"The disk of {folder} is full: free some space or choose another Models Folder in the"
            " preferences. A download goes on where it stopped."
        )
    reason = error.strerror or str(error)
    return WeightsError(
        f"{folder} cannot be written to ({reason}): choose another Models Folder in the preferences."
    )


def _receive(
    url: str,
    partial: Path,
    remote: Remote,
    token: str | None,
    digest: hashlib._Hash,
    have: int,
    progress: Progress,
) -> hashlib._Hash:
    """Fetch the rest of a file; returns the hash of all of it."""
    reached = have

    def once() -> bool:
        nonlocal digest, have, reached
        wanted = {"Range": f"bytes={have}-"} if have else {}
        try:
            stream = _Stream(url, token, wanted, lambda: progress(have, remote.size))
        except Refused as error:
            if error.status != 416:
                raise
            partial.unlink()  # it is longer than the file, so it belongs to something else
            digest, have = hashlib.sha256(), 0
            raise _Broken("it has nothing to add to what is here") from error
        with stream:
            if have and stream.status != 206:  # the server sends it all again
                digest, have = hashlib.sha256(), 0
            size = remote.size if stream.length is None else have + stream.length
            with _disk(partial.parent), partial.open("ab" if have else "wb") as file:
                for chunk in stream.chunks():
                    file.write(chunk)
                    digest.update(chunk)
                    have += len(chunk)
                    reached = max(reached, have)
                    progress(have, size)
        if size is not None and have < size:
            raise _Broken(f"it ended after {have:,} of {size:,} bytes")
        return True

    _persistently(once, url, lambda: progress(have, remote.size), lambda: reached)
    return digest


def _persistently(
    action: Callable[[], T], url: str, check: Check, reached: Callable[[], int] = lambda: 0
) -> T:
    """Try again after a broken connection or a busy server; progress in between renews our patience."""
    failures = busy = 0
    while True:
        before = reached()
        try:
            return action()
        except _Broken as error:
            failures = 0 if reached() > before else failures + 1
            logger.info("%s: %s", url, error)
            if failures >= len(RETRY_WAITS):
                raise WeightsError(
                    f"The connection to {urlsplit(url).hostname} keeps breaking ({error}): check the"
                    " internet connection and press Download again; it goes on where it stopped."
                ) from error
            _wait(RETRY_WAITS[failures], check)
        except _Busy as error:
            busy += 1
            if busy > BUSY_TRIES or error.seconds > LONGEST_WAIT:
                raise Refused(
                    f"{urlsplit(url).hostname} has too much to do and asks to come back in"
                    f" {_spoken(error.seconds)}: press Download again then; it goes on where it stopped.",
                    error.status,
                ) from error
            _wait(error.seconds, check)


class _Busy(Exception):
    """The server asks us to come back later."""

    def __init__(self, status: int, seconds: float) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.seconds = status, seconds


def _wait(seconds: float, check: Check) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(TICK, left))


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


class _Stream:
    """The body of an answer, read by a thread of its own."""

    def __init__(
        self, url: str, token: str | None, headers: Mapping[str, str], check: Check
    ) -> None:
        self._check = check
        self._pieces: queue.Queue[bytes | BaseException | HTTPResponse | None] = queue.Queue(8)
        self._is_left = threading.Event()
        arguments = ("GET", url, token, dict(headers))
        threading.Thread(target=self._read, args=arguments, name="fetch", daemon=True).start()
        first = self._next()
        assert isinstance(first, HTTPResponse)
        length = first.headers.get("Content-Length", "")
        self.status = first.status
        self.length = int(length) if length.isdigit() else None

    def __enter__(self) -> _Stream:
        return self

    def __exit__(self, *_error: object) -> None:
        self._is_left.set()

    def chunks(self) -> Iterator[bytes]:
        """The pieces as they arrive; ``check`` runs while waiting."""
        while (piece := self._next()) is not None:
            assert isinstance(piece, bytes)
            yield piece

    def _next(self) -> bytes | HTTPResponse | None:
        while True:
            self._look()
            try:
                piece = self._pieces.get(timeout=TICK)
            except queue.Empty:
                continue
            if isinstance(piece, BaseException):
                raise piece
            return piece

    def _look(self) -> None:
        try:
            self._check()
        except BaseException:
            self._is_left.set()
            raise

    def _read(self, method: str, url: str, token: str | None, headers: dict[str, str]) -> None:
        _survive_closed_connections()
        try:
            with _followed(method, url, token, headers) as response:
                self._put(response)
                while not self._is_left.is_set() and (piece := response.read(CHUNK)):
                    self._put(piece)
            self._put(None)
        except (OSError, HTTPException) as error:
            self._put(_translated(error, url))
        except BaseException as error:  # noqa: BLE001 - whoever waits for this thread must hear of it
            self._put(error)

    def _put(self, piece: bytes | BaseException | HTTPResponse | None) -> None:
        while not self._is_left.is_set():
            try:
                self._pieces.put(piece, timeout=TICK)
                return
            except queue.Full:
                continue


def _call(
    method: str,
    url: str,
    token: str | None,
    headers: Mapping[str, str],
    check: Check,
    *,
    is_lookup: bool,
) -> Message:
    """The headers of an answer, waited for in small steps."""
    answers: queue.SimpleQueue[Message | BaseException] = queue.SimpleQueue()

    def ask() -> None:
        _survive_closed_connections()
        try:
            with _followed(method, url, token, headers, is_lookup=is_lookup) as response:
                answers.put(response.headers)
        except (OSError, HTTPException) as error:
            answers.put(_translated(error, url))
        except BaseException as error:  # noqa: BLE001 - whoever waits for this thread must hear of it
            answers.put(error)

    threading.Thread(target=ask, name="fetch", daemon=True).start()
    while True:
        check()
        try:
            answer = answers.get(timeout=TICK)
        except queue.Empty:
            continue
        if isinstance(answer, BaseException):
            raise answer
        return answer


def _survive_closed_connections() -> None:
    """Let a write to a connection that the other side closed be an error of this thread.

    Python on its own ignores the signal that comes first; inside Blender it would end Blender.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows, which knows no such signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})


def _followed(
    method: str,
    url: str,
    token: str | None,
    headers: Mapping[str, str],
    *,
    is_lookup: bool = False,
) -> HTTPResponse:
    """Open an address, following redirects.

    A look-up follows only redirects within the server: the first answer that points elsewhere holds the
    headers we want.
    """
    home, commit = urlsplit(url), None
    for _step in range(MOST_REDIRECTS + 1):
        here = urlsplit(url)
        _require_web(url)
        sent = {"User-Agent": "image-to-mesh", "Accept-Encoding": "identity", **headers}
        if token is not None and (here.scheme, here.netloc) == (home.scheme, home.netloc):
            sent["Authorization"] = f"Bearer {token}"
        request = urllib.request.Request(url, headers=sent, method=method)
        try:
            response = _opener().open(request, timeout=SILENCE)
        except urllib.error.HTTPError as error:
            where = error.headers.get("Location")
            if error.code not in {301, 302, 303, 307, 308} or where is None:
                raise _refusal(error, url) from error
            there = urljoin(url, where)
            commit = commit or error.headers.get("X-Repo-Commit")
            if is_lookup and urlsplit(there).netloc != here.netloc:
                return _as_response(error)
            error.close()
            url = there
            continue
        if commit is not None and "X-Repo-Commit" not in response.headers:
            response.headers["X-Repo-Commit"] = commit
        return response
    raise WeightsError(f"{home.hostname} sends us in circles: try again later.")


def _as_response(error: urllib.error.HTTPError) -> HTTPResponse:
    """An HTTPError is an answer too."""
    return cast("HTTPResponse", error)


def _require_web(url: str) -> None:
    parts = urlsplit(url)
    is_here = parts.hostname in {"localhost", "127.0.0.1", "::1"}
    if parts.scheme != "https" and not (parts.scheme == "http" and is_here):
        raise WeightsError(
            f"{url} is not a secure address: set HF_ENDPOINT to one that begins with https://."
        )


@functools.cache
def _opener() -> urllib.request.OpenerDirector:
    context = ssl.create_default_context()
    try:  # Blender brings certifi along; some systems' own certificates are out of Python's reach
        import certifi
    except ImportError:
        pass
    else:
        context.load_verify_locations(certifi.where())
    return urllib.request.build_opener(_NoRedirects, urllib.request.HTTPSHandler(context=context))


def _refusal(error: urllib.error.HTTPError, url: str) -> BaseException:
    """What an answer of 400 or more means."""
    status, reason = error.code, error.headers.get("X-Error-Code", "")
    host = urlsplit(url).hostname
    if status in {429, 503}:
        return _Busy(status, _retry_after(error.headers.get("Retry-After")))
    if status >= 500 or status == 408:
        return _Broken(f"HTTP {status}")
    return Refused(f"{host} answers with HTTP {status} {reason}".rstrip() + ".", status, reason)


def _retry_after(text: str | None) -> float:
    """Seconds to wait; the header's other form, a date, is rare and read as the usual wait."""
    try:
        return max(0.0, float(text)) if text is not None else RETRY_WAITS[-1]
    except ValueError:
        return RETRY_WAITS[-1]


def _translated(error: OSError | HTTPException, url: str) -> BaseException:
    """What a failure below HTTP means."""
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    host = urlsplit(url).hostname
    if isinstance(cause, ssl.SSLCertVerificationError):
        return WeightsError(
            f"{host} cannot prove who it is ({cause.verify_message}): check the computer's clock and"
            " whatever stands between it and the internet."
        )
    if isinstance(cause, socket.gaierror):
        return _Broken("its name cannot be found")
    if isinstance(cause, TimeoutError):
        return _Broken(f"nothing came for {SILENCE:.0f} s")
    return _Broken(str(cause) or type(cause).__name__)


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK * 16):
            yield chunk


def _tag(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
