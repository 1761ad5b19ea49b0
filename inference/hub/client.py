"""huggingface_hub as this extension uses it: imported when a download is asked for, quiet, up to date.

The package reads its settings from the environment once, when it is imported. Here they are read again when
the environment has changed since, so that HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE, HF_TOKEN and proxies count
whenever they are set.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from pathlib import Path, PurePosixPath
from types import ModuleType

from ..errors import MissingPackage, WeightsError

AGENT = "image-to-mesh"  # what servers are told about us, and nothing else
CHUNK = 1 << 16  # bytes handed over at a time; a broken connection loses less than one
OLDEST = "1.5"  # before it, a server without ranges spoiled a file that was gone on with
# What the package's one HTTP client is made from, which lives until it is closed.
CONNECTION_VARIABLES = (
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "ssl_cert_file",
    "ssl_cert_dir",
)

_seen: dict[str, str] = {}
_reading = threading.Lock()


def settings() -> ModuleType:
    """huggingface_hub's own settings, as the environment is now.

    Raises:
        MissingPackage: It is not installed, or too old.
        WeightsError: A variable of the environment is not understood.
    """
    was_imported = "huggingface_hub" in sys.modules
    try:
        import huggingface_hub
        from huggingface_hub import constants, file_download  # noqa: F401 - with all that it needs

        _read_environment_again(huggingface_hub, constants, was_imported)
    except ImportError as error:
        package = (error.name or "huggingface_hub").partition(".")[0]
        raise MissingPackage(
            f"The Python package {package} is missing, without which models are not downloaded: install"
            " the full Image to Mesh zip for your system, which brings it along (see the README), or"
            " press Use File for a file that you have."
        ) from error
    except ValueError as error:
        raise WeightsError(
            f"huggingface_hub does not understand its settings ({error}): correct or remove the"
            " environment variables that begin with HF_."
        ) from error
    if not hasattr(constants, "is_offline_mode"):
        raise MissingPackage(
            f"huggingface_hub {huggingface_hub.__version__} is too old to download models: install"
            f" {OLDEST} or newer, or press Use File for a file that you have."
        )
    constants.HF_HUB_DISABLE_TELEMETRY = True
    constants.DOWNLOAD_CHUNK_SIZE = CHUNK  # its own 10 MB are lost at each cut and each Cancel
    return constants


def is_offline() -> bool:
    """Whether the environment forbids to ask the hub; raises as ``settings`` does."""
    return settings().is_offline_mode()


def token_file() -> Path:
    """Where the access token is kept when it is in no variable; raises as ``settings`` does."""
    return Path(settings().HF_TOKEN_PATH)


def address(repo: str, name: str, revision: str | None) -> str:
    """Where a file of the hub is; raises as ``settings`` does.

    Args:
        repo: Repository on the hub.
        name: The file's path there.
        revision: Its commit; None for the newest.
    """
    endpoint = settings().ENDPOINT
    from huggingface_hub import hf_hub_url

    return hf_hub_url(repo, name, revision=revision, endpoint=endpoint)


def headers(*, is_hub: bool) -> dict[str, str]:
    """What is sent with a request. May ask the hub for a new access token, so it may take a while.

    Args:
        is_hub: Whether to send the artist's access token, if there is one. httpx keeps it from following a
            redirect to another server.
    """
    settings()
    from huggingface_hub.utils import build_hf_headers

    # Compressed, a file could neither be resumed nor counted.
    plain = {"user-agent": AGENT, "accept-encoding": "identity"}
    return build_hf_headers(token=None if is_hub else False, headers=plain)


def cached(
    repo: str, name: str, revision: str | None, sha256: str | None
) -> tuple[Path, str] | None:
    """A file in the cache that Hugging Face's tools share, with its revision, if the right one is there.

    Args:
        repo: Repository on the hub.
        name: The file's path there.
        revision: The commit that it must be of; None for what the cache takes for the newest.
        sha256: Of its content, which will do whatever its revision; None where unknown.
    """
    cache = Path(settings().HF_HUB_CACHE)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.file_download import repo_folder_name

    found = try_to_load_from_cache(repo, name, cache_dir=cache, revision=revision)
    depth = len(PurePosixPath(name).parts) - 1
    if isinstance(found, str):
        return Path(found), Path(found).parents[depth].name
    if sha256 is not None:  # the same content under another revision; its blob is named by its hash
        store = cache / repo_folder_name(repo_id=repo, repo_type="model") / "snapshots"
        for path in store.glob(f"*/{name}"):
            if path.is_symlink() and path.readlink().name == sha256 and path.is_file():
                return path, path.parents[depth].name
    return None


def _read_environment_again(package: ModuleType, constants: ModuleType, was_imported: bool) -> None:
    with _reading:
        now = dict(os.environ)
        if was_imported and now != _seen:
            importlib.reload(constants)
            if _connection(now) != _connection(_seen):
                package.close_session()
        _seen.clear()
        _seen.update(now)


def _connection(environment: dict[str, str]) -> dict[str, str]:
    return {k: v for k, v in environment.items() if k.lower() in CONNECTION_VARIABLES}
