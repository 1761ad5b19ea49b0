"""Other kinds of object from a finished one: a point cloud, and a volume."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

import bpy
from bpy.props import IntProperty

from ..scene.build import make_active
from ..scene.points import add_vertices, sample_surface, show_as_points
from ..scene.volume import add_volume


def can_convert_to_points() -> bool:
    """Whether this Blender makes objects of the type Point Cloud out of meshes; 4.2 does not."""
    convert = bpy.ops.object.convert.get_rna_type()  # pyright: ignore[reportCallIssue]
    targets = convert.properties["target"].enum_items
    return "POINTCLOUD" in targets.keys()  # noqa: SIM118


class _FromMesh:
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.active_object
        reason = None
        if obj is None or obj.type != "MESH" or not obj.data.polygons:
            reason = "Select a mesh with faces"
        elif context.mode != "OBJECT":
            reason = "Leave Edit Mode first"
        if reason is not None:
            cls.poll_message_set(reason)  # pyright: ignore[reportAttributeAccessIssue]
        return reason is None


class IMAGE_TO_MESH_OT_add_point_cloud(_FromMesh, bpy.types.Operator):
    """Spread points evenly over the active mesh."""

    bl_idname = "image_to_mesh.add_point_cloud"
    bl_label = "Point Cloud"
    bl_description = (
        "Add a point cloud spread evenly over the active object's surface, with its texture's"
        " colours and its normals"
    )

    count: IntProperty(
        name="Points",
        description="How many points there will be",
        default=50_000,
        min=1,
        soft_max=1_000_000,
        max=20_000_000,
    )
    seed: IntProperty(name="Seed", description="Another one spreads them otherwise", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        obj, scene = context.active_object, context.scene
        assert obj is not None  # poll has looked
        assert scene is not None
        cloud = add_vertices(scene, obj, sample_surface(obj, self.count, self.seed))
        mesh = cloud.data
        assert isinstance(mesh, bpy.types.Mesh)
        make_active(context.view_layer, cloud)
        if not can_convert_to_points():
            show_as_points(cloud)
            return {"FINISHED"}
        bpy.ops.object.convert(target="POINTCLOUD")  # no other way works in every version
        if cloud.type != "POINTCLOUD":
            bpy.data.meshes.remove(mesh)
            self.report({"ERROR"}, "Blender could not turn the points into a point cloud.")
            return {"CANCELLED"}
        if mesh.users == 0:
            bpy.data.meshes.remove(mesh)
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_add_volume(_FromMesh, bpy.types.Operator):
    """Fill the active mesh with a volume that follows it."""

    bl_idname = "image_to_mesh.add_volume"
    bl_label = "Volume"
    bl_description = (
        "Add an OpenVDB volume that fills the active object and follows its changes. Best for"
        " closed meshes"
    )

    voxels: IntProperty(
        name="Voxels",
        description="Voxels along the diagonal of the object's bounding box",
        default=128,
        min=8,
        soft_max=512,
        max=2048,
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        obj, scene = context.active_object, context.scene
        assert obj is not None  # poll has looked
        assert scene is not None
        make_active(context.view_layer, add_volume(scene, obj, self.voxels))
        return {"FINISHED"}
