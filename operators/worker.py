"""What the worker thread does. Nothing here touches Blender; torch loads when a run begins."""

from __future__ import annotations

from ..inference.contracts import CutOut, Reconstruction, RefineRequest, Request
from ..inference.running.job import Report
from .scene.build import Prepared, PreparedMesh

PACKING_BEGINS = 0.97


class Reconstructing:
    """One reconstruction with all that can be done ahead for Blender.

    Attributes:
        prepared: Set when ``run`` has ended well, before its result reaches the main thread.
    """

    prepared: Prepared

    def __init__(self, *, keeps_models: bool = False) -> None:
        """With ``keeps_models`` downloaded networks stay in memory for the next run."""
        self._keeps_models = keeps_models

    def run(self, request: Request, report: Report) -> Reconstruction:
        """Reconstruct, then encode pictures, both off the main thread."""
        from ..inference import pipeline

        def report_share(fraction: float, stage: str) -> None:
            report(fraction * PACKING_BEGINS, stage)

        try:
            result = pipeline.run(request, report_share)
        finally:
            if not self._keeps_models:
                free_models()
        report(PACKING_BEGINS, "Packing the textures")
        self.prepared = Prepared.from_reconstruction(result)
        return result


class Refining:
    """One object shaped again, with all that can be done ahead for Blender.

    Attributes:
        prepared: Set when ``run`` has ended well, before its result reaches the main thread.
    """

    prepared: PreparedMesh

    def run(self, request: RefineRequest, report: Report) -> Reconstruction:
        """Shape, then encode textures, both off the main thread."""
        from ..inference import pipeline

        result = pipeline.refine(request, lambda share, name: report(share * PACKING_BEGINS, name))
        report(PACKING_BEGINS, "Packing the textures")
        self.prepared = PreparedMesh.from_reconstruction(result)
        return result


def cut_out(request: Request, report: Report, *, keeps_models: bool = False) -> CutOut:
    """Only find the subject; with ``keeps_models`` downloaded networks stay in memory."""
    from ..inference import pipeline

    try:
        return pipeline.cut_out(request, report)
    finally:
        if not keeps_models:
            free_models()


def free_models() -> None:
    """Drop downloaded networks from memory; the small built-in one stays."""
    from ..inference.networks.loaded import LOADED

    LOADED.free()
