"""One file, brought by huggingface_hub so that it can be cancelled, resumed and trusted. Knows nothing of models.

huggingface_hub asks the server, follows it to where the file is, knows proxies and access tokens, and takes a
transfer up again after a cut. Its ``hf_hub_download`` is not used, because since version 1.20 it removes what
has arrived when it is stopped, and Cancel here keeps it; ``http_get``, which that function calls, goes on where
a file ends. For the same reason files come over HTTP and not over Xet, which starts again each time.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar, cast

from ..errors import WeightsError
from . import client
from .answers import Broken, Busy, Refused, explained_failures, host_of, nonsense, require_secure
from .background import TICK, Check, answered, handed_over
from .disk import Progress, pieces, require_space, told_failures

if TYPE_CHECKING:
    from huggingface_hub import HfFileMetadata

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_WAITS = (1.0, 2.0, 4.0, 8.0)  # seconds before each new try without any progress in between
PATIENCE = 90.0  # seconds without any progress after which no new try is made
LONGEST_SILENCE = 120.0  # seconds without a byte after which a transfer is left
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


def look_up(url: str, check: Check, *, is_hub: bool = True) -> Remote:
    """Ask what a file is without fetching it.

    Args:
        url: https, or http on this computer.
        check: Called at least ten times a second; raises to stop.
        is_hub: Whether the artist's access token is meant for that server.

    Raises:
        Refused: The server says no.
        MissingPackage: huggingface_hub is not installed.
        WeightsError: The server cannot be reached, or its answer makes no sense.
    """
    require_secure(url)

    def ask() -> HfFileMetadata:
        client.settings()
        from huggingface_hub import get_hf_file_metadata

        with explained_failures(url):
            return get_hf_file_metadata(url, token=False, headers=client.headers(is_hub=is_hub))

    found = _persistently(lambda: answered(ask, check), url, check)
    require_secure(found.location, url)
    if found.size is not None and found.size < 0:
        raise nonsense(url, f"a length of {found.size}")
    etag = found.etag or ""
    return Remote(
        size=found.size,
        sha256=etag if _is_sha256(etag) else None,
        revision=found.commit_hash,
        tag=etag,
    )


def download(
    url: str,
    target: Path,
    remote: Remote,
    sha256: str | None,
    progress: Progress,
    extra_space: int = 0,
    *,
    is_hub: bool = True,
) -> str:
    """Fetch a file, going on where an earlier try stopped; returns its sha256.

    While it arrives it is called ``partial_path(target, remote)``. It gets its own name when it is
    complete and its hash is right.

    Args:
        url: https, or http on this computer.
        target: Where it goes; its folder exists.
        remote: From ``look_up``.
        sha256: What the file must have; None takes the server's word, or anything without it.
        progress: Called at least ten times a second with the bytes here and the bytes in all; raises to
            stop, and what has arrived is kept.
        extra_space: Bytes that the caller will need on that disk beside the file.
        is_hub: Whether the artist's access token is meant for that server.

    Raises:
        Refused: The server says no.
        MissingPackage: huggingface_hub is not installed.
        WeightsError: The connection keeps breaking, the disk is full, or what arrived is not that file.
    """
    partial = partial_path(target, remote)
    for other in target.parent.glob(f"{target.name}.*.incomplete"):
        if other != partial:  # of another content of the same address
            other.unlink()
    with told_failures(target.parent):
        digest, have = _read(partial, lambda have: progress(have, remote.size))
    if remote.size is not None:
        require_space(target.parent, remote.size - have + extra_space)
    if remote.size is None or have < remote.size or not partial.exists():
        arriving = _Arriving(url, partial, remote, digest, have, progress)
        arriving.receive(is_hub=is_hub)
        digest = arriving.digest
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


class _Surplus(WeightsError):
    """A server sends more than it promised."""


class _Arriving:
    """A file of which a part is here.

    Attributes:
        digest: Of what is here.
        have: Its bytes.
        reached: The most bytes that were ever here; a server without ranges starts again.
    """

    def __init__(
        self,
        url: str,
        partial: Path,
        remote: Remote,
        digest: hashlib._Hash,
        have: int,
        progress: Progress,
    ) -> None:
        self.digest, self.have, self.reached = digest, have, have
        self._url, self._partial, self._remote, self._progress = url, partial, remote, progress

    def receive(self, *, is_hub: bool) -> None:
        """Fetch the rest; raises as ``download`` does."""
        _persistently(lambda: self._once(is_hub), self._url, self._tell, lambda: self.reached)

    def _once(self, is_hub: bool) -> None:
        """One transfer, over as many connections as huggingface_hub tries."""
        begin, heard = self.have, time.monotonic()

        def send(hand_over: Callable[[bytes | int], None]) -> None:
            client.settings()
            from huggingface_hub.file_download import http_get

            with explained_failures(self._url):
                http_get(
                    self._url,
                    cast("BinaryIO", _Outlet(hand_over, begin)),
                    resume_size=begin,
                    headers=client.headers(is_hub=is_hub),
                    expected_size=self._remote.size,
                    displayed_filename=self._partial.name,
                    tqdm_class=cast("Any", _NoBar),
                )

        def check() -> None:
            self._tell()
            if time.monotonic() - heard > LONGEST_SILENCE:
                raise Broken(f"nothing came for {LONGEST_SILENCE:.0f} s")

        try:
            with (
                told_failures(self._partial.parent),
                self._partial.open("ab") as file,
                closing(handed_over(send, check)) as parts,
            ):
                for part in parts:
                    heard = time.monotonic()
                    if isinstance(part, int):  # the server sends all of it again
                        file.truncate(part)
                        self.digest, self.have = _read(self._partial, lambda _have: None)
                    else:
                        self._take(part, file)
        except _Surplus:
            self._drop()
            raise
        except Refused as error:
            if error.status != 416:
                raise
            self._drop()  # it is longer than the file, so it belongs to something else
            raise Broken("it has nothing to add to what is here") from error

    def _take(self, part: bytes, file: BinaryIO) -> None:
        size = self._remote.size
        if size is not None and self.have + len(part) > size:
            raise _Surplus(
                f"{host_of(self._url)} sends more than the {size:,} bytes that it promised: what had"
                " arrived was removed. Download it again."
            )
        file.write(part)
        self.digest.update(part)
        self.have += len(part)
        self.reached = max(self.reached, self.have)
        self._tell()

    def _tell(self) -> None:
        self._progress(self.have, self._remote.size)

    def _drop(self) -> None:
        self._partial.unlink()
        self.digest, self.have = hashlib.sha256(), 0


class _Outlet:
    """What ``http_get`` takes for the file that it writes: hands over each piece, or the place to go back to."""

    def __init__(self, hand_over: Callable[[bytes | int], None], begin: int) -> None:
        self._hand_over, self._place = hand_over, begin

    def write(self, piece: bytes) -> int:
        self._hand_over(piece)
        self._place += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._place

    def seek(self, place: int) -> int:
        self._place = place
        return place

    def truncate(self) -> int:
        self._hand_over(self._place)
        return self._place


class _NoBar:
    """A progress bar that shows nothing: what is written says how far it is."""

    def __init__(self, *_arguments: object, **_options: object) -> None:
        pass

    def __enter__(self) -> _NoBar:
        return self

    def __exit__(self, *_error: object) -> None:
        pass

    def update(self, _count: float = 1) -> None:
        pass


def _persistently(
    action: Callable[[], T], url: str, check: Check, reached: Callable[[], int] = lambda: 0
) -> T:
    """Try again after a broken connection or a busy server; progress in between renews our patience."""
    failures = busy = 0
    since = time.monotonic()
    while True:
        before = reached()
        try:
            return action()
        except Broken as error:
            if reached() > before:
                failures, since = 0, time.monotonic()
            else:
                failures += 1
            logger.info("%s: %s", url, error)
            if failures >= len(RETRY_WAITS) or time.monotonic() - since > PATIENCE:
                raise WeightsError(
                    f"The connection to {host_of(url)} keeps breaking ({error}): check the internet"
                    " connection and start the download again; it goes on where it stopped."
                ) from error
            _wait(RETRY_WAITS[failures], check)
        except Busy as error:
            busy += 1
            seconds = RETRY_WAITS[-1] if error.seconds is None else error.seconds
            if busy > BUSY_TRIES or seconds > LONGEST_WAIT:
                raise Refused(
                    f"{host_of(url)} has too much to do and asks to come back in {_spoken(seconds)}:"
                    " start the download again then; it goes on where it stopped.",
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


def _read(path: Path, progress: Callable[[int], None]) -> tuple[hashlib._Hash, int]:
    """The hash of what is in a file, to be gone on with, and its bytes; of nothing when there is none."""
    digest, have = hashlib.sha256(), 0
    if path.exists():
        for piece in pieces(path):
            digest.update(piece)
            have += len(piece)
            progress(have)
    return digest, have


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdef" for c in text)
