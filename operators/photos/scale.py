"""Give a result its true size by one distance in it that the artist knows."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

from dataclasses import dataclass

import bmesh
import bpy
from bpy.props import FloatProperty
from mathutils import Vector

from ...inference.errors import ImageToMeshError
from ..scene.photos import CAMERAS_PROPERTY

NOTHING_PICKED = (
    "Select two vertices of the mesh in Edit Mode, or two objects such as empties; one alone is"
    " measured from the 3D cursor."
)


class NotPicked(ImageToMeshError):
    """There is nothing to measure or nothing to scale."""


@dataclass(frozen=True, slots=True)
class Picked:
    """Two points and the result that they belong to.

    Attributes:
        result: The mesh object of the result.
        markers: Objects that mark the points and must stay at them.
        length: Distance of the points in metres.
    """

    result: bpy.types.Object
    markers: tuple[bpy.types.Object, ...]
    length: float


def picked(context: bpy.types.Context) -> Picked:
    """What the artist has picked.

    Raises:
        NotPicked: With a sentence that says what to pick.
    """
    scene = context.scene
    active = context.view_layer.objects.active
    markers: tuple[bpy.types.Object, ...] = ()
    if active is not None and active.type == "MESH" and active.mode == "EDIT":
        mesh = bmesh.from_edit_mesh(active.data)
        points = [active.matrix_world @ v.co for v in mesh.verts if v.select]
        result = result_of(active, scene)
    else:
        results = [obj for obj in context.selected_objects if CAMERAS_PROPERTY in obj]
        others = [obj for obj in context.selected_objects if CAMERAS_PROPERTY not in obj]
        markers = tuple(obj for obj in others if obj.type != "CAMERA")
        points = [obj.matrix_world.translation for obj in markers]
        result = results[0] if len(results) == 1 else _only_result(scene)
    if len(points) == 1:
        points.append(scene.cursor.location)
    if len(points) != 2:
        raise NotPicked(NOTHING_PICKED)
    if result is None:
        raise NotPicked("Select the mesh that Photos to Mesh has made, too.")
    length = (Vector(points[0]) - Vector(points[1])).length
    if length < 1e-9:
        raise NotPicked("The two points lie in one place: pick two that are apart.")
    return Picked(result, markers, length)


def result_of(obj: bpy.types.Object, scene: bpy.types.Scene) -> bpy.types.Object | None:
    """The result an object belongs to."""
    return obj if CAMERAS_PROPERTY in obj else _only_result(scene)


def _only_result(scene: bpy.types.Scene) -> bpy.types.Object | None:
    results = [obj for obj in scene.objects if CAMERAS_PROPERTY in obj]
    return results[0] if len(results) == 1 else None


def scale_result(
    result: bpy.types.Object, markers: tuple[bpy.types.Object, ...], factor: float
) -> None:
    """Scale a result with its cameras, its points and what marks them, about its origin."""
    pivot = result.matrix_world.translation.copy()
    collection = result.get(CAMERAS_PROPERTY)
    members = [] if collection is None else [obj for obj in collection.objects if obj != result]
    for obj in dict.fromkeys((*members, *markers)):
        obj.location = pivot + factor * (obj.location - pivot)
        if obj.type == "CAMERA":
            obj.data.display_size *= factor
        elif obj.type == "MESH":
            obj.scale = factor * obj.scale
    result.scale = factor * result.scale


class IMAGE_TO_MESH_OT_scale_to_distance(bpy.types.Operator):
    """Scale a result so that two picked points are as far apart as they are in the world."""

    bl_idname = "image_to_mesh.scale_to_distance"
    bl_label = "Scale to Distance"
    bl_description = (
        "Give the result its true size: pick two vertices, two objects, or one of them and the 3D"
        " cursor, and type their real distance"
    )
    bl_options = {"REGISTER", "UNDO"}

    distance: FloatProperty(
        name="Real Distance",
        description="How far the two points are apart in the world",
        default=1.0,
        min=1e-5,
        max=1e5,
        subtype="DISTANCE",
        unit="LENGTH",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or not any(CAMERAS_PROPERTY in o for o in context.scene.objects):
            cls.poll_message_set("There is no result of Photos to Mesh in this scene")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            self.distance = picked(context).length
        except NotPicked as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return context.window_manager.invoke_props_dialog(self)

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            found = picked(context)
        except NotPicked as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        scale_result(found.result, found.markers, self.distance / found.length)
        return {"FINISHED"}


CLASSES = (IMAGE_TO_MESH_OT_scale_to_distance,)
