"""Where a result arrives: at the 3D cursor, beside what is already there, never inside of it."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

# No "from __future__ import annotations" here: it would turn property declarations into strings.

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import bpy
import numpy as np
from bpy.props import EnumProperty, FloatVectorProperty
from mathutils import Euler, Matrix, Vector
from mathutils.bvhtree import BVHTree
from numpy.typing import NDArray

from .onlooker import Onlooker

GAP = 0.2  # between a result and what it stands beside, in the result's longer footprint side
TOUCH = 0.02  # of its own size that a result may reach into others: feet on a floor
SURROUNDINGS = 3.0  # footprints in both directions from which a mesh is what things stand in
MOST_POLYGONS = 400_000  # of surroundings that are looked at face by face
MOST_STEPS = 1000
SOLID_TYPES = frozenset(
    {
        *("MESH", "CURVE", "SURFACE", "META", "FONT", "CURVES", "POINTCLOUD", "VOLUME"),
        *("GPENCIL", "GREASEPENCIL", "ARMATURE", "LATTICE"),
    }
)
ALIGNMENTS = (
    ("WORLD", "World", "Align the new object to the world"),
    ("VIEW", "View", "Align the new object to the view"),
    ("CURSOR", "3D Cursor", "Use the 3D cursor's rotation for the new object"),
)
BOX_FACES = ((0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3))


@dataclass(frozen=True, slots=True)
class Anchor:
    """The place that was wanted when a run began.

    Attributes:
        matrix: (4, 4) rows of a rigid world matrix; the middle of the result's foot comes to its origin.
        steps_aside: Move on to the world's right until nothing is in the way.
    """

    matrix: tuple[tuple[float, ...], ...]
    steps_aside: bool


def anchor(matrix: Matrix, *, steps_aside: bool) -> Anchor:
    """Remember a matrix by its numbers."""
    return Anchor(tuple(tuple(row) for row in matrix), steps_aside)


ORIGIN = anchor(Matrix.Identity(4), steps_aside=False)


class Placed:
    """Mixed into operators that add objects, with the names that Blender's own primitives use.

    Without any of these a button works at the 3D cursor, aligned as Preferences > Editing > Align To
    says, and steps aside; a call from Python works exactly where it says, at the world's origin if it
    says nothing.
    """

    location: FloatVectorProperty(
        name="Location",
        description="Where the middle of the new object's foot comes to. A call from Python uses the"
        " world's origin without it",
        subtype="TRANSLATION",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    rotation: FloatVectorProperty(
        name="Rotation",
        description="Rotation of the new object",
        subtype="EULER",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    align: EnumProperty(
        name="Align",
        description="The alignment of the new object, where no rotation is given",
        items=ALIGNMENTS,
        default="WORLD",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def given_anchor(self: Any, context: bpy.types.Context) -> Anchor:
        """What the arguments say alone, for calls from Python."""
        location, rotation = Vector(self.location), Euler(self.rotation)
        turned = rotation.to_matrix().to_4x4()
        if not self.properties.is_property_set("rotation"):
            turned = aligned(self.align, context.scene, Onlooker.of(context))
        return anchor(Matrix.Translation(location) @ turned, steps_aside=False)

    def cursor_anchor(self: Any, context: bpy.types.Context, onlooker: Onlooker) -> Anchor:
        """The same for buttons and menus, where the 3D cursor fills in what is not said."""
        is_set = self.properties.is_property_set
        location = self.location if is_set("location") else context.scene.cursor.location
        if is_set("rotation"):
            turned = Euler(self.rotation).to_matrix().to_4x4()
        else:
            wanted = self.align if is_set("align") else context.preferences.edit.object_align
            turned = aligned(wanted, context.scene, onlooker)
        matrix = Matrix.Translation(Vector(location)) @ turned
        return anchor(matrix, steps_aside=not is_set("location"))


def aligned(align: str, scene: bpy.types.Scene, onlooker: Onlooker) -> Matrix:
    """The rotation (4, 4) that an alignment means; without a view VIEW means WORLD."""
    if align == "CURSOR":
        return scene.cursor.matrix.to_3x3().normalized().to_4x4()
    space = onlooker.space() if align == "VIEW" else None
    if space is None or space.region_3d is None:
        return Matrix.Identity(4)
    return space.region_3d.view_matrix.to_3x3().inverted().to_4x4()


def settle(
    wanted: Anchor,
    view_layer: bpy.types.ViewLayer,
    body: bpy.types.Object,
    others: Iterable[bpy.types.Object],
) -> None:
    """Move a result, which was built around the world's origin, to where it is wanted.

    Args:
        wanted: Where.
        view_layer: What is visible there is in the way.
        body: The result's object.
        others: What goes with it rigidly, such as its cameras; they go on seeing it as they did.
    """
    moved = (body, *others)
    view_layer.update()
    corners = _transformed(np.array(body.bound_box, np.float64), body.matrix_world)
    matrix = free_matrix(wanted, view_layer, corners, moved)
    if matrix == Matrix.Identity(4):
        return
    for obj in moved:
        if obj.parent is None:
            obj.matrix_world = matrix @ obj.matrix_world


def free_matrix(
    wanted: Anchor,
    view_layer: bpy.types.ViewLayer,
    corners: NDArray[np.floating],
    left_out: Sequence[bpy.types.Object] = (),
) -> Matrix:
    """The world matrix (4, 4) that brings a result to where it is wanted.

    Args:
        wanted: Where.
        view_layer: What is visible there is in the way, if it is to step aside.
        corners: (N, 3) points that bound the result, around the world's origin.
        left_out: Objects that are not in the way.
    """
    matrix = Matrix(wanted.matrix)
    if not wanted.steps_aside:
        return matrix
    placed = _transformed(corners, matrix)
    step = _step_aside(placed, list(_obstacles(view_layer, left_out)), view_layer)
    return Matrix.Translation((step, 0.0, 0.0)) @ matrix


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """An object in the way; ``low`` and ``high`` bound it in the world."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    mesh: bpy.types.Object | None = None


def _obstacles(
    view_layer: bpy.types.ViewLayer, left_out: Sequence[bpy.types.Object]
) -> Iterator[_Obstacle]:
    for obj in view_layer.objects:
        if obj in left_out or not obj.visible_get(view_layer=view_layer):
            continue
        if obj.type in SOLID_TYPES:
            found = _obstacle(obj, obj.matrix_world)
            if found is not None:
                yield found
        elif obj.instance_type == "COLLECTION" and obj.instance_collection is not None:
            offset = Matrix.Translation(-obj.instance_collection.instance_offset)
            for part in obj.instance_collection.all_objects:
                found = None
                if part.type in SOLID_TYPES:
                    found = _obstacle(part, obj.matrix_world @ offset @ part.matrix_world)
                if found is not None:
                    yield _Obstacle(found.low, found.high)


def _obstacle(obj: bpy.types.Object, matrix: Matrix) -> _Obstacle | None:
    corners = np.array(obj.bound_box, np.float64)
    if (corners == -1.0).all() or (np.ptp(corners, axis=0) == 0.0).all():  # nothing in it
        return None
    placed = _transformed(corners, matrix)
    is_mesh = obj.type == "MESH" and "image_to_mesh_engine" not in obj
    return _Obstacle(placed.min(axis=0), placed.max(axis=0), obj if is_mesh else None)


def _step_aside(
    corners: NDArray[np.float64], obstacles: list[_Obstacle], view_layer: bpy.types.ViewLayer
) -> float:
    """How far (8, 3) corners have to move along the world's x until they are free."""
    low, high = corners.min(axis=0), corners.max(axis=0)
    size = np.maximum(high - low, 1e-9)
    gap = GAP * float(max(size[0], size[1]))
    margin = TOUCH * size
    trees: dict[int, BVHTree | None] = {}
    step = 0.0
    for _ in range(MOST_STEPS):
        aside = np.array([step, 0.0, 0.0])
        in_way = [
            found
            for found in obstacles
            if (low + aside + margin < found.high).all()
            and (high + aside - margin > found.low).all()
            and _is_blocked(found, corners + aside, margin, view_layer, trees)
        ]
        if not in_way:
            return step
        step = max(float(found.high[0]) for found in in_way) + gap - float(low[0])
    return step


def _is_blocked(
    obstacle: _Obstacle,
    corners: NDArray[np.float64],
    margin: NDArray[np.float64],
    view_layer: bpy.types.ViewLayer,
    trees: dict[int, BVHTree | None],
) -> bool:
    """Whether an obstacle whose bounds are touched is really in the way.

    Things are, with all of their bounds. Of a large mesh (a room, a hill, a sky) only its surface is,
    and its inside where it is solid.
    """
    size = np.ptp(corners, axis=0)
    footprint = float(max(size[0], size[1]))
    obj = obstacle.mesh
    if obj is None or float((obstacle.high - obstacle.low)[:2].min()) < SURROUNDINGS * footprint:
        return True
    key = obj.as_pointer()
    if key not in trees:
        trees[key] = None
        if len(obj.data.polygons) <= MOST_POLYGONS:
            trees[key] = BVHTree.FromObject(obj, view_layer.depsgraph)
    tree = trees[key]
    if tree is None:
        return True
    middle = corners.mean(axis=0)
    shrunk = middle + (corners - middle) * (1.0 - 2.0 * margin / np.maximum(size, 1e-9))
    local = _transformed(shrunk, obj.matrix_world.inverted_safe())
    order = np.lexsort((corners[:, 2], corners[:, 1], corners[:, 0]))
    box = BVHTree.FromPolygons([tuple(local[i]) for i in order], BOX_FACES)
    return bool(tree.overlap(box)) or _is_inside(tree, Vector(local.mean(axis=0)))


def _is_inside(tree: BVHTree, point: Vector) -> bool:
    """Whether a surface is all around a point and turns its back on it: a room faces inwards."""
    for axis in range(3):
        for sign in (-1.0, 1.0):
            direction = Vector((0.0, 0.0, 0.0))
            direction[axis] = sign
            if tree.ray_cast(point, direction)[0] is None:
                return False
    place, normal, _, _ = tree.find_nearest(point)
    return place is not None and (point - place).dot(normal) < 0.0


def _transformed(points: NDArray[np.floating], matrix: Matrix) -> NDArray[np.float64]:
    rows = np.array(matrix, np.float64)
    return points @ rows[:3, :3].T + rows[:3, 3]
