"""What Hugging Face's own tools keep on this computer: their cache, an access token, and whether to go online."""

from __future__ import annotations

import os
from pathlib import Path


def is_offline() -> bool:
    """Whether the environment forbids the hub, as Hugging Face's own tools understand it."""
    return os.environ.get("HF_HUB_OFFLINE", "").strip().upper() in {"1", "ON", "YES", "TRUE"}


def hub_cache() -> Path:
    """The cache that Hugging Face's own tools share."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if given := os.environ.get(name):
            return Path(given).expanduser()
    return _hub_home() / "hub"


def token_file() -> Path:
    """Where Hugging Face's own tools keep the access token."""
    given = os.environ.get("HF_TOKEN_PATH")
    return Path(given).expanduser() if given else _hub_home() / "token"


def _hub_home() -> Path:
    if given := os.environ.get("HF_HOME"):
        return Path(given).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "huggingface"


def token() -> str | None:
    """The access token, or None."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if given := os.environ.get(name, "").strip():
            return given
    try:
        return token_file().read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def cached(
    repo: str, name: str, revision: str | None, sha256: str | None
) -> tuple[Path, str] | None:
    """A file in the shared cache with its revision, if the right one is there.

    Args:
        repo: Repository on the hub.
        name: The file's path there.
        revision: The commit that it must be of; None for what the cache takes for the newest.
        sha256: Of its content, which will do whatever its revision; None where unknown.
    """
    store = hub_cache() / f"models--{repo.replace('/', '--')}"
    if revision is None:
        try:
            revision = (store / "refs" / "main").read_text(encoding="utf-8").strip()
        except OSError:
            return None
    wanted = store / "snapshots" / revision / name
    if wanted.is_file():
        return wanted, revision
    if sha256 is not None:  # the same content under another revision; its blob is named by its hash
        for path in (store / "snapshots").glob(f"*/{name}"):
            if path.resolve().name == sha256:
                return path, path.relative_to(store / "snapshots").parts[0]
    return None
