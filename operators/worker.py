"""What the worker thread does. Nothing here touches Blender; torch loads when a run begins."""

from __future__ import annotations

from ..inference.contracts import CutOut, Reconstruction, Request
from ..inference.job import Report
from .scene.build import Prepared

PACKING_BEGINS = 0.97


class Reconstructing:
    """One reconstruction with all that can be done ahead for Blender.

    Attributes:
        prepared: Set when ``run`` has ended well, before its result reaches the main thread.
    """

    prepared: Prepared

    def run(self, request: Request, report: Report) -> Reconstruction:
        """Reconstruct, then encode pictures, both off the main thread."""
        from ..inference import pipeline

        def report_share(fraction: float, stage: str) -> None:
            report(fraction * PACKING_BEGINS, stage)

        result = pipeline.run(request, report_share)
        report(PACKING_BEGINS, "Packing the textures")
        self.prepared = Prepared.from_reconstruction(result)
        return result


def cut_out(request: Request, report: Report) -> CutOut:
    """Only find the subject."""
    from ..inference import pipeline

    return pipeline.cut_out(request, report)
