"""Failures the artist can act on. Every message says what happened and what to do next."""

from __future__ import annotations

from .naming import shown


class ImageToMeshError(Exception):
    """Base class: ``str(error)`` is one sentence, shown to the artist as it stands.

    Names in it are made safe to show: those of files are whatever a system allowed.
    """

    def __init__(self, sentence: str = "") -> None:
        """Say what happened and what to do next."""
        super().__init__(shown(sentence))


class RunCancelled(ImageToMeshError):
    """The artist asked to stop; not a failure."""


class PictureError(ImageToMeshError):
    """The picture cannot be read or used."""


class CutOutError(ImageToMeshError):
    """No subject could be separated from its background."""


class WeightsError(ImageToMeshError):
    """A network's weights are missing, damaged or of another version."""


class MissingPackage(ImageToMeshError):
    """A Python package the run needs (PyTorch, OpenCV) cannot be imported."""


class OutOfMemory(ImageToMeshError):
    """Neither the graphics card nor main memory could hold the run."""


class OutputError(ImageToMeshError):
    """A result cannot be written where it was asked for."""


class DeviceUnavailable(ImageToMeshError):
    """The artist asked for a device that PyTorch does not find."""
