"""Fetch one file over HTTP so that it can be cancelled, resumed and trusted. Knows nothing of models."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ..errors import WeightsError
from .connection import TICK, Broken, Busy, Check, Refused, Stream, first_headers
from .disk import Progress, pieces, require_space, told_failures

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each new try without any progress in between
LONGEST_WAIT = 120.0  # seconds we wait for a server that says it is busy
BUSY_TRIES = 3


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
    headers = _persistently(lambda: first_headers(url, token, check), url, check)
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
    with told_failures(target.parent):
        if partial.exists():
            for piece in pieces(partial):
                digest.update(piece)
                have += len(piece)
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
    with told_failures(target.parent):
        partial.replace(target)
    return found


def partial_path(target: Path, remote: Remote) -> Path:
    """The name a file has while it arrives."""
    tag = hashlib.sha256(f"{remote.tag} {remote.size}".encode()).hexdigest()[:12]
    return target.with_name(f"{target.name}.{tag}.incomplete")


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
            stream = Stream(url, token, wanted, lambda: progress(have, remote.size))
        except Refused as error:
            if error.status != 416:
                raise
            partial.unlink()  # it is longer than the file, so it belongs to something else
            digest, have = hashlib.sha256(), 0
            raise Broken("it has nothing to add to what is here") from error
        with stream:
            if have and stream.status != 206:  # the server sends it all again
                digest, have = hashlib.sha256(), 0
            size = remote.size if stream.length is None else have + stream.length
            with told_failures(partial.parent), partial.open("ab" if have else "wb") as file:
                for chunk in stream.chunks():
                    file.write(chunk)
                    digest.update(chunk)
                    have += len(chunk)
                    reached = max(reached, have)
                    progress(have, size)
        if size is not None and have < size:
            raise Broken(f"it ended after {have:,} of {size:,} bytes")
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
        except Broken as error:
            failures = 0 if reached() > before else failures + 1
            logger.info("%s: %s", url, error)
            if failures >= len(RETRY_WAITS):
                raise WeightsError(
                    f"The connection to {urlsplit(url).hostname} keeps breaking ({error}): check the"
                    " internet connection and start the download again; it goes on where it stopped."
                ) from error
            _wait(RETRY_WAITS[failures], check)
        except Busy as error:
            busy += 1
            seconds = RETRY_WAITS[-1] if error.seconds is None else error.seconds
            if busy > BUSY_TRIES or seconds > LONGEST_WAIT:
                raise Refused(
                    f"{urlsplit(url).hostname} has too much to do and asks to come back in"
                    f" {_spoken(seconds)}: start the download again then; it goes on where it stopped.",
                    error.status,
                ) from error
            _wait(seconds, check)


def _wait(seconds: float, check: Check) -> None:
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        check()
        time.sleep(min(TICK, left))


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} minutes"


def _tag(etag: str) -> str:
    return etag.removeprefix("W/").strip('"')


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
