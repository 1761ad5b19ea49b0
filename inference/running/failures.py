"""Turn what libraries raise into sentences for the artist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ..errors import MissingPackage, OutOfMemory
from ..machine.memory import is_out_of_memory

# Packages that are installed under another name than they are imported by.
INSTALLED_AS = {"PIL": "Pillow"}
NO_MAIN_MEMORY = "The computer ran out of memory: choose a lower Detail or a smaller picture."


@contextmanager
def translated_failures() -> Iterator[None]:
    """Raise an ``ImageToMeshError`` in place of a missing package and of a lack of memory."""
    try:
        yield
    except ImportError as error:
        package = (error.name or "a package").partition(".")[0]
        if package == (__package__ or "").partition(".")[0]:
            raise  # one of our own modules: a bug, not a missing package
        raise MissingPackage(
            f"The Python package {INSTALLED_AS.get(package, package)} is missing: install the full Image to Mesh zip for your"
            " system, which brings it along (see the README)."
        ) from error
    except MemoryError as error:
        raise OutOfMemory(NO_MAIN_MEMORY) from error
    except RuntimeError as error:
        raise _device_failure(error) from error


def _device_failure(error: RuntimeError) -> Exception:
    """PyTorch reports every lack of memory as a RuntimeError; others are returned unchanged."""
    if not is_out_of_memory(error):
        return error
    text = str(error).lower()
    is_main = "can't allocate memory" in text or "not enough memory" in text
    if is_main and "out of memory" not in text:
        return OutOfMemory(NO_MAIN_MEMORY)
    return OutOfMemory(
        "The graphics card ran out of memory: set Device to Processor in the preferences, or close"
        " other programs that use the card."
    )
