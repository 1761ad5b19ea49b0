"""The first minute: the start-up scene, a picture, the button. Is the result seen?"""

from __future__ import annotations

import bpy
from acting import (
    FOLDER,
    PACKAGE,
    PATIENCE,
    Script,
    facts,
    key,
    objects,
    press_generate,
    screenshot,
    session,
    view,
    wait,
    window,
)
from mathutils import Vector


def _main_region() -> bpy.types.Region:
    return next(region for region in view()[0].regions if region.type == "WINDOW")


def _bounds(obj: bpy.types.Object) -> tuple[list[float], list[float]]:
    corners = [obj.matrix_world @ Vector(corner) for corner in obj.bound_box]
    return [min(c[i] for c in corners) for i in range(3)], [
        max(c[i] for c in corners) for i in range(3)
    ]


def _overlaps(one: bpy.types.Object, other: bpy.types.Object) -> bool:
    (low, high), (low2, high2) = _bounds(one), _bounds(other)
    return all(low[i] < high2[i] - 0.02 and high[i] > low2[i] + 0.02 for i in range(3))


def _seen_share(obj: bpy.types.Object) -> tuple[bool, float]:
    """Whether all of an object is seen beside the sidebar, and the share of the view that it fills."""
    region, sidebar = _main_region(), view()[1]
    edge = (sidebar.x - region.x) / region.width * 2.0 - 1.0
    rv3d = view()[0].spaces.active.region_3d
    places = []
    for vertex in obj.data.vertices:
        place = rv3d.perspective_matrix @ (obj.matrix_world @ vertex.co).to_4d()
        places.append((place.x / place.w, place.y / place.w))
    is_inside = all(-1.0 <= x <= edge and abs(y) <= 1.0 for x, y in places)
    spans = [max(p[i] for p in places) - min(p[i] for p in places) for i in range(2)]
    return is_inside, max(spans) / 2.0


def _camera_error(mesh: bpy.types.Object, camera: bpy.types.Object) -> float:
    """How far the mesh lies off its place before the matched camera: 0 where it was not moved apart."""
    relative = camera.matrix_world.inverted() @ mesh.matrix_world
    middle = relative @ (sum((Vector(c) for c in mesh.bound_box), Vector()) / 8)
    return max(abs(middle.x), abs(middle.y)) / abs(middle.z)


def _made(before: list[str]) -> tuple[bpy.types.Object, bpy.types.Object]:
    added = [bpy.data.objects[name] for name in objects() if name not in before]
    mesh = next(obj for obj in added if obj.type == "MESH")
    return mesh, next(obj for obj in added if obj.type == "CAMERA")


def _run() -> Script:
    yield from press_generate()
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    assert session().last_event is None, f"the job failed: {session().last_event}"
    yield 1.5  # the view turns smoothly


def first_minute() -> Script:
    """From the start-up scene: two objects, then a scene; each seen, framed, in colour, beside the rest."""
    scene, space = bpy.context.scene, view()[0].spaces.active
    facts["start"] = [objects(), space.shading.type, space.shading.color_type]
    settings = scene.image_to_mesh
    settings.detail, settings.texture_size = "LOW", 512
    render = (scene.camera.name, scene.render.resolution_x, scene.render.resolution_y)
    bpy.ops.ed.undo_push(message="Settings")
    yield from screenshot("first_minute_before")
    made, rows = [], []
    for number, engine in enumerate(("OBJECT", "OBJECT", "SCENE")):
        settings = bpy.context.scene.image_to_mesh
        settings.engine = engine
        before = objects()
        yield from _run()
        mesh, camera = _made(before)
        yield from screenshot(f"first_minute_{number + 1}")
        others = [obj for obj in bpy.data.objects if obj.type == "MESH" and obj != mesh]
        rows.append(
            {
                "engine": mesh["image_to_mesh_engine"],
                "inside_of": [other.name for other in others if _overlaps(mesh, other)],
                "is_selected": [obj.name for obj in bpy.context.selected_objects] == [mesh.name],
                "seen": _seen_share(mesh),
                "shading": [space.shading.type, space.shading.color_type],
                "camera_error": _camera_error(mesh, camera),
                "lowest_z": _bounds(mesh)[0][2],
            }
        )
        made.append(mesh.name)
        if number == 0:  # grey, if that is what the artist wants
            space.shading.color_type = "MATERIAL"
    facts["rows"] = rows
    facts["render_is_kept"] = render == (
        scene.camera.name, scene.render.resolution_x, scene.render.resolution_y,
    )  # fmt: skip
    space.shading.color_type = "TEXTURE"
    main = _main_region()
    with bpy.context.temp_override(window=window(), area=view()[0], region=main):
        bpy.ops.view3d.view_all()
    yield 1.5
    yield from screenshot("first_minute_all")
    turned = [list(row) for row in space.region_3d.view_matrix]
    yield from key("Z", ctrl=True)
    yield 0.5
    facts["after_undo"] = made[-1] in objects()
    facts["view_after_undo"] = turned == [list(row) for row in space.region_3d.view_matrix]


def cursor_align() -> Script:
    """Add > Mesh at a 3D cursor that is moved and turned, with New Objects aligned to it."""
    scene = bpy.context.scene
    scene.image_to_mesh.detail, scene.image_to_mesh.texture_size = "LOW", 512
    scene.image_to_mesh.engine = "OBJECT"
    scene.cursor.location = (-4.0, 3.0, 1.5)
    scene.cursor.rotation_euler = (0.0, 0.0, 0.7)
    edit = bpy.context.preferences.edit
    placed = {}
    for align in ("WORLD", "CURSOR", "VIEW"):
        edit.object_align = align
        with bpy.context.temp_override(window=window(), area=view()[0], region=_main_region()):
            bpy.ops.mesh.primitive_cube_add(size=0.1)
            primitive = bpy.context.object
            expected = primitive.matrix_world.copy()
            bpy.data.objects.remove(primitive)
            before = objects()
            bpy.ops.image_to_mesh.import_picture(
                "EXEC_DEFAULT", filepath=str(FOLDER / "picture.png")
            )
        yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
        assert session().last_event is None, f"the job failed: {session().last_event}"
        mesh, camera = _made(before)
        placed[align] = max(
            abs(mesh.matrix_world[i][j] - expected[i][j]) for i in range(3) for j in range(4)
        )
        for obj in (mesh, camera):
            bpy.data.objects.remove(obj)
        yield 0.5
    facts["placed"] = placed


def quiet_view() -> Script:
    """With both preferences off neither the view nor its shading changes."""
    preferences = bpy.context.preferences.addons[PACKAGE].preferences
    preferences.use_frame_result, preferences.result_shading = False, "KEEP"
    space = view()[0].spaces.active
    bpy.context.scene.image_to_mesh.detail = "LOW"
    bpy.context.scene.image_to_mesh.texture_size = 512
    before = [list(row) for row in space.region_3d.view_matrix]
    yield from _run()
    facts["view_is_kept"] = before == [list(row) for row in space.region_3d.view_matrix]
    facts["shading"] = [space.shading.type, space.shading.color_type]
