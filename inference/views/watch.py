"""How a reconstruction from photos is followed while it runs, and ended early.

The interface between the engine and whoever started it::

    watch = Watch(show=previews.put)
    result = engines.views.run(request, report, watch)  # on the worker thread
    watch.finish_now.set()                              # from any thread

``show`` is called on the worker thread with a ``PreviewMesh`` in the world frame: the outlines' hull
where there are masks, the fused surface, and the refined one every ``interval`` seconds. Once
``finish_now`` is set, a refinement ends after the step that it is at, one that has not begun is left
out, and the run goes on to texture what there is; cancelling stays what ``report`` does. Neither
changes the result otherwise: a run that is watched but not ended gives what an unwatched one gives.
``can_finish`` is set while ``finish_now`` would save time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class PreviewMesh:
    """A surface as it is now, for a look only: neither closed for certain nor without crumbs.

    Attributes:
        positions: (V, 3) float32 in the world frame, as the finished mesh will be placed as far as
            that is known.
        faces: (F, 4) int32.
        colours: (V, 3) uint8 sRGB.
        words: What it is, such as "Refined, 40 %".
    """

    positions: NDArray[np.float32]
    faces: NDArray[np.int32]
    colours: NDArray[np.uint8]
    words: str


@dataclass(slots=True)
class Watch:
    """How a reconstruction is followed and ended early; as it stands, not at all.

    Attributes:
        show: Takes previews, on the worker thread; None when nobody looks.
        finish_now: Once set, the refinement ends and what there is is kept.
        can_finish: Set by the engine while a refinement is ahead or under way.
        interval: Seconds between two previews of a refinement at least.
    """

    show: Callable[[PreviewMesh], None] | None = None
    finish_now: threading.Event = field(default_factory=threading.Event)
    can_finish: threading.Event = field(default_factory=threading.Event)
    interval: float = 3.0
    _next: float = 0.0

    def wants_to_see(self) -> bool:
        """Whether it is time for another look at the surface."""
        return self.show is not None and time.monotonic() >= self._next

    def look(self, preview: PreviewMesh) -> None:
        """Show a preview, and begin to wait for the next."""
        if self.show is not None:
            self.show(preview)
        self._next = time.monotonic() + self.interval

    def is_enough(self) -> bool:
        """Whether to stop and keep what there is."""
        return self.finish_now.is_set()
