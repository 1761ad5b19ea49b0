"""Decode a picture in a process of its own, with bounded memory and time: the side that works.

    python child_main.py PICTURE MAX_SIDE MAX_BYTES

Writes a line of JSON and the pixels. Runs as a script, outside of the package that it belongs to,
and loads that package under a name of its own.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...contracts import Picture

UNAVAILABLE, TOO_LARGE = 3, 4  # exit statuses

_PACKAGE = "image_to_mesh_picture"
_MAX_PROCESSOR_SECONDS = 60
_LOOK_SECONDS = 0.05


def main() -> int:
    path, max_side, max_bytes = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    output = sys.stdout.buffer
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _load_package()
    files = f"{_PACKAGE}.inference.picture.files"
    errors = importlib.import_module(f"{_PACKAGE}.inference.errors")
    try:
        read = importlib.import_module(f"{files}.read")
        # In one piece: nothing here needs to be cancelled, as the whole process can be.
        data = read.read_whole(path, lambda: None, path.stat().st_size + 1)
        header = importlib.import_module(f"{files}.recognise").read_header(data, path.name)
        # OpenCV reads this when it is loaded. No decoder may find more than the header tells.
        os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(header.width * header.height)
        load = importlib.import_module(f"{files}.load")
        load.check(header, len(data), path.name, max_side)
        _bound(max_bytes - len(data))
        picture = load.decode_picture(data, header, path.name, max_side, lambda: None)
    except ImportError:
        return UNAVAILABLE  # the other side knows what to say of a missing package
    except (MemoryError, errors.OutOfMemory):
        return TOO_LARGE
    except errors.PictureError as error:
        output.write(json.dumps({"sentence": str(error)}).encode() + b"\n")
        return 0
    except Exception as error:
        if _is_lack_of_memory(error):
            return TOO_LARGE
        raise
    output.write(json.dumps(_told(picture)).encode() + b"\n")
    output.write(memoryview(picture.pixels).cast("B"))
    output.flush()
    return 0


def _told(picture: Picture) -> dict[str, Any]:
    place = picture.place
    return {
        "shape": picture.pixels.shape,
        "has_alpha": picture.has_alpha,
        "focal_px": picture.focal_px,
        "name": picture.name,
        "notes": picture.notes,
        "sha256": picture.sha256,
        "place": None if place is None else (place.latitude, place.longitude, place.error),
    }


def _load_package() -> None:
    root = Path(__file__).resolve().parents[3]
    spec = importlib.util.spec_from_file_location(
        _PACKAGE, root / "__init__.py", submodule_search_locations=[str(root)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[_PACKAGE] = module
    spec.loader.exec_module(module)


def _end_with_parent() -> None:
    """End when the other process is gone, even if it was killed."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def _bound(free_bytes: int) -> None:
    """Let this process take so much more memory, and a minute of processor time."""
    try:
        import resource
    except ImportError:
        return  # Windows: what the header tells has been checked, and the other side looks at the clock
    cv2 = importlib.import_module("cv2")
    cv2.setNumThreads(1)
    seconds = _MAX_PROCESSOR_SECONDS + int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
    _lower(resource.RLIMIT_CPU, seconds)
    with contextlib.suppress(OSError):
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        _lower(resource.RLIMIT_AS, pages * resource.getpagesize() + max(free_bytes, 0))
    bound = _peak_bytes() + max(free_bytes, 0)
    threading.Thread(target=_watch_memory, args=(bound,), daemon=True).start()


def _lower(limit: int, value: int) -> None:
    """Lower one of the system's limits; some systems know a limit and refuse to set it."""
    import resource

    with contextlib.suppress(OSError, ValueError):
        _, most = resource.getrlimit(limit)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        resource.setrlimit(limit, (value, most))


def _watch_memory(bound: int) -> None:
    """End when more memory has been used, where the system itself does not see to that."""
    while _peak_bytes() <= bound:
        threading.Event().wait(_LOOK_SECONDS)
    os._exit(TOO_LARGE)


def _peak_bytes() -> int:
    """The most memory that this process has had."""
    import resource

    with contextlib.suppress(OSError, StopIteration):
        # Linux counts what the process that started this one had into the other number.
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def _is_lack_of_memory(error: Exception) -> bool:
    code = getattr(error, "code", None)
    return type(error).__module__ == "cv2" and code == importlib.import_module("cv2").Error.StsNoMem


if __name__ == "__main__":
    sys.exit(main())
