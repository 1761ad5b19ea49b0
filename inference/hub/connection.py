"""One exchange over HTTP that its caller can leave within a tenth of a second.

Our own client on the standard library instead of huggingface_hub, because a worker thread needs what that
package does not give: it has no way to stop a transfer but an exception thrown from inside its progress bar,
waits out its time limits when a server falls silent, and brings eleven packages along, one of them compiled,
which would have to be in the extension for every system. What we need of the hub's protocol is small: one
address per file and revision, the file's hash in a header of its first answer, and ranges.

The bytes are read by a thread of their own, so that the caller can leave even while the system waits for a
name to be looked up or for a server that says nothing. That thread never writes: what was abandoned can do
no harm and ends at its next byte or time limit.
"""

from __future__ import annotations

import functools
import queue
import signal
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import cast
from urllib.parse import urljoin, urlsplit

from ..errors import WeightsError

CHUNK = 1 << 18  # bytes read at a time
TICK = 0.1  # seconds between two looks at whether to go on
SILENCE = 20.0  # seconds without a byte after which a connection counts as broken
MOST_REDIRECTS = 5

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


class Broken(Exception):
    """The connection failed in a way that a new one may cure."""


class Busy(Exception):
    """The server asks us to come back later.

    Attributes:
        status: The HTTP status.
        seconds: When, or None when the server does not say.
    """

    def __init__(self, status: int, seconds: float | None) -> None:
        super().__init__(f"HTTP {status}")
        self.status, self.seconds = status, seconds


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_arguments: object) -> None:
        """Leave redirects to us: the token must not follow them to another server."""


class Stream:
    """The body of an answer, read by a thread of its own.

    Attributes:
        status: The HTTP status.
        length: Bytes of the body, or None when the server does not say.
    """

    def __init__(
        self, url: str, token: str | None, headers: Mapping[str, str], check: Check
    ) -> None:
        """Ask for it.

        Args:
            url: https, or http on this computer.
            token: Sent to that server only, never to where it redirects.
            headers: Sent beside the usual ones.
            check: Called at least ten times a second; raises to stop.

        Raises:
            Broken: The connection failed in a way that a new one may cure.
            Busy: The server asks us to come back later.
            Refused: The server says no.
            WeightsError: The address is not secure, or the server cannot prove who it is.
        """
        self._check = check
        self._pieces: queue.Queue[bytes | BaseException | HTTPResponse | None] = queue.Queue(8)
        self._is_left = threading.Event()
        arguments = (url, token, dict(headers))
        threading.Thread(target=self._read, args=arguments, name="fetch", daemon=True).start()
        first = self._next()
        assert isinstance(first, HTTPResponse)
        length = first.headers.get("Content-Length", "")
        self.status = first.status
        self.length = int(length) if length.isdigit() else None

    def __enter__(self) -> Stream:
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

    def _read(self, url: str, token: str | None, headers: dict[str, str]) -> None:
        _survive_closed_connections()
        try:
            with _followed("GET", url, token, headers) as response:
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


def first_headers(url: str, token: str | None, check: Check) -> Message:
    """The headers of the first answer that tells of a file, without the file; as for ``Stream``."""
    answers: queue.SimpleQueue[Message | BaseException] = queue.SimpleQueue()

    def ask() -> None:
        _survive_closed_connections()
        try:
            with _followed("HEAD", url, token, {}, is_lookup=True) as response:
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
        return Busy(status, _retry_after(error.headers.get("Retry-After")))
    if status >= 500 or status == 408:
        return Broken(f"HTTP {status}")
    return Refused(f"{host} answers with HTTP {status} {reason}".rstrip() + ".", status, reason)


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait; the header's other form, a date, is rare and read as nothing."""
    try:
        return max(0.0, float(text)) if text is not None else None
    except ValueError:
        return None


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
        return Broken("its name cannot be found")
    if isinstance(cause, TimeoutError):
        return Broken(f"nothing came for {SILENCE:.0f} s")
    return Broken(str(cause) or type(cause).__name__)
