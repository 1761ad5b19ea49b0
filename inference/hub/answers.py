"""What it means when a server, or the way to it, answers with anything but a file."""

from __future__ import annotations

import math
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urljoin, urlsplit

from ..errors import ImageToMeshError, WeightsError

HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# Words by which the HTTP library says that a connection broke in the middle of good manners.
CUT = ("closed connection", "disconnected", "without sending", "connection reset")


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


def require_secure(url: str, base: str = "") -> None:
    """Make sure that nobody on the way can change or read what comes from an address.

    Args:
        url: The address, or a part of one that is to be read beside ``base``.
        base: The address that led there.

    Raises:
        WeightsError: It is neither https nor on this computer, or no address at all.
    """
    try:
        parts = urlsplit(urljoin(base, url))
        is_secure = parts.scheme == "https" and bool(parts.hostname)
        is_secure |= parts.scheme == "http" and parts.hostname in HERE
    except ValueError as error:
        raise nonsense(base or url, error) from error
    if not is_secure:
        raise WeightsError(
            f"{url} is not a secure address: set HF_ENDPOINT to one that begins with https://."
        )


def nonsense(url: str, what: object) -> WeightsError:
    """A sentence for an answer that keeps to no rules."""
    words = " ".join(str(what).split())
    return WeightsError(
        f"{host_of(url)} gives an answer that makes no sense ({words[:120]}): try again later, or press"
        " Use File for a file that you have."
    )


def host_of(url: str) -> str:
    """The server's name in an address, for a sentence."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url


@contextmanager
def explained_failures(url: str) -> Iterator[None]:
    """Raise ``Refused``, ``Broken``, ``Busy`` or another ``WeightsError`` for what huggingface_hub raises.

    Args:
        url: The address that is asked.
    """
    try:
        yield
    except ImageToMeshError:
        raise
    except Exception as error:
        explained = _meaning(error, url)
        if explained is error:
            raise
        raise explained from error


def _meaning(error: Exception, url: str) -> Exception:
    """What a failure means; the error itself when it is none that a server or the way to it can cause."""
    response = getattr(error, "response", None)
    if response is not None:
        return _refusal(response, url)
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return WeightsError(
                f"{host_of(url)} cannot prove who it is ({cause.verify_message}): check the computer's"
                " clock and whatever stands between it and the internet."
            )
        if isinstance(cause, socket.gaierror):
            return Broken("its name cannot be found")
    # By name, because huggingface_hub uses httpx before its version 2 and httpx2 since.
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "TooManyRedirects" in kinds:
        return WeightsError(f"{host_of(url)} sends us in circles: try again later.")
    is_about_proxy = "proxy" in str(error).lower() and kinds & {"ValueError", "ImportError"}
    if "ProxyError" in kinds or is_about_proxy:
        return WeightsError(
            f"The proxy cannot be used ({' '.join(str(error).split())[:120]}): correct the environment"
            " variables HTTPS_PROXY and ALL_PROXY, or the system's proxy."
        )
    if kinds & {"TimeoutException", "TimeoutError"}:
        return Broken("nothing came for a while")
    if "RemoteProtocolError" in kinds and not any(w in str(error).lower() for w in CUT):
        return nonsense(url, error)
    if kinds & {
        "LocalProtocolError",
        "UnicodeEncodeError",
    }:  # of what we send, only this is not ours
        return WeightsError(
            "The access token holds characters that no token has: correct HF_TOKEN, or log in again with"
            " Hugging Face's tools."
        )
    if kinds & {"InvalidURL", "UnsupportedProtocol", "DecodingError", "ValueError"}:
        return nonsense(url, error)
    if kinds & {"TransportError", "OSError"}:
        return Broken(str(error) or type(error).__name__)
    return error


def _refusal(response: Any, url: str) -> Exception:
    """What an answer of 400 or more means."""
    status, reason = response.status_code, response.headers.get("X-Error-Code", "")
    if status in {429, 503}:
        return Busy(status, _retry_after(response.headers.get("Retry-After")))
    if status >= 500 or status == 408:
        return Broken(f"HTTP {status}")
    words = f"{host_of(url)} answers with HTTP {status} {reason}".rstrip() + "."
    return Refused(words, status, reason)


def _retry_after(text: str | None) -> float | None:
    """Seconds to wait; the header's other form, a date, is rare and read as nothing."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error, what caused it, what caused that, and so on."""
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__
