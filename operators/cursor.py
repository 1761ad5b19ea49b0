"""Progress at the mouse cursor, for operators that Blender has to wait for."""

# pyright: reportAttributeAccessIssue=false
# The stubs take the window manager's progress functions for something else.

from __future__ import annotations

from collections.abc import Callable

import bpy

from ..inference.contracts import Progress


class cursor_progress:  # noqa: N801 - used as a statement
    """Show a percentage at the mouse cursor while Blender has to wait."""

    def __init__(self, context: bpy.types.Context) -> None:
        self._manager = context.window_manager

    def __enter__(self) -> Callable[[Progress], None]:
        self._manager.progress_begin(0.0, 100.0)
        return lambda progress: self._manager.progress_update(progress.fraction * 100.0)

    def __exit__(self, *_error: object) -> None:
        self._manager.progress_end()
