"""Where networks run."""

from __future__ import annotations

from ..contracts import Device
from ..errors import DeviceUnavailable

CARDS = {"cuda": "NVIDIA graphics card", "mps": "Apple graphics"}


def best_device(wanted: Device) -> str:
    """The torch device for a setting; ``auto`` takes the graphics card if there is one.

    Raises:
        DeviceUnavailable: The wanted device is not there.
    """
    from .native import import_torch

    import_torch()
    import torch

    has = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if wanted == "auto":
        return next(name for name, present in has.items() if present)
    if not has[wanted]:
        raise DeviceUnavailable(
            f"PyTorch finds no {CARDS[wanted]} here: set Device to Automatic or Processor in the"
            " preferences."
        )
    return wanted
