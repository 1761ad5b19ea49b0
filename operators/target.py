"""Where a result goes: remembered without a pointer, which undo would leave dangling."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ..inference.errors import ImageToMeshError


@dataclass(frozen=True, slots=True)
class Target:
    """The scene that asked for a result.

    Attributes:
        name: The scene's name when it asked, for messages.
        session_uid: Blender's number for it; survives undo and renaming.
    """

    name: str
    session_uid: int

    @classmethod
    def of(cls, context: bpy.types.Context) -> Target:
        return cls(context.scene.name, context.scene.session_uid)

    def find(self) -> tuple[bpy.types.Scene, bpy.types.ViewLayer]:
        """The scene, and the view layer that the artist sees it through.

        Raises:
            ImageToMeshError: When the scene has been deleted.
        """
        for scene in bpy.data.scenes:
            if scene.session_uid == self.session_uid:
                return scene, _shown_view_layer(scene)
        raise ImageToMeshError(
            f"The scene {self.name} was deleted, so its result was thrown away: generate it again"
            " in another scene."
        )


def _shown_view_layer(scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        if window.scene == scene:
            return window.view_layer
    return scene.view_layers[0]
