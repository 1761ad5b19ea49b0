"""The list of Photos & Video: what goes on it, what comes off, and what became of each picture."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import bpy
from bpy.props import CollectionProperty, EnumProperty, StringProperty
from bpy_extras.io_utils import ImportHelper

from ...inference.views.contracts import VIDEO_EXTENSIONS, PictureStatus
from ..import_picture import EXTENSIONS
from .options import ImageToMeshPhotos


def note_statuses(photos: ImageToMeshPhotos, statuses: Sequence[PictureStatus]) -> None:
    """Show in the list what became of each picture; frames and folders are summed up."""
    by_name = {status.name: status for status in statuses}
    for item in photos.pictures:
        path = Path(bpy.path.abspath(item.filepath) if item.image is None else item.image.name)
        own = by_name.get(path.stem) if item.image is not None else None
        own = own or by_name.get(path.name) or by_name.get(f"{path.parent.name}/{path.name}")
        if own is None:
            inside = [s for s in statuses if s.name.startswith(f"{path.stem} ")]
            inside = list(statuses) if path.is_dir() else inside
            if not inside:
                continue
            used = sum(status.is_used for status in inside)
            own = PictureStatus(path.name, used > 0, f"{used} of {len(inside)} pictures used.")
        item.status = ("REMARK" if own.sentence else "USED") if own.is_used else "LEFT_OUT"
        item.sentence = own.sentence
    remarks = [[s.name, s.is_used, s.sentence] for s in statuses if s.sentence or not s.is_used]
    photos.remarks = json.dumps(remarks)


class IMAGE_TO_MESH_OT_add_photos(ImportHelper, bpy.types.Operator):
    """Put photos, a folder of photos or a video on the list."""

    bl_idname = "image_to_mesh.add_photos"
    bl_label = "Add Photos or Video"
    bl_description = "Choose photos or a video; choose nothing in a folder to take all of it"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*{extension}" for extension in (*EXTENSIONS, *VIDEO_EXTENSIONS)),
        options={"HIDDEN"},
    )
    directory: StringProperty(
        name="Folder",
        description="Folder of the files; without files, all of it is added",
        subtype="DIR_PATH",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    files: CollectionProperty(
        name="Files",
        description="Names of photos and videos in the folder",
        type=bpy.types.OperatorFileListElement,
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if any(file.name for file in self.files):  # dropped into the view
            return self.execute(context)
        return cast("set[str]", ImportHelper.invoke(self, context, event))

    def execute(self, context: bpy.types.Context) -> set[str]:
        named = [str(Path(self.directory) / file.name) for file in self.files if file.name]
        chosen = named or [path for path in (self.directory or self.filepath,) if path]
        if not chosen:
            self.report({"ERROR"}, "Nothing was chosen: choose photos, a folder or a video.")
            return {"CANCELLED"}
        add_paths(context.scene.image_to_mesh_photos, chosen)
        return {"FINISHED"}


def add_paths(photos: ImageToMeshPhotos, paths: Iterable[str]) -> None:
    """Put files on the list that are not on it yet."""
    there = {bpy.path.abspath(item.filepath) for item in photos.pictures}
    for path in paths:
        if bpy.path.abspath(path) not in there:
            there.add(bpy.path.abspath(path))
            item = photos.pictures.add()
            item.filepath = path
            item.name = Path(path).name or path
    photos.active = max(len(photos.pictures) - 1, 0)


class IMAGE_TO_MESH_OT_add_loaded_photos(bpy.types.Operator):
    """Put an image, image sequence or movie that is already in Blender on the list."""

    bl_idname = "image_to_mesh.add_loaded_photos"
    bl_label = "Add From Blender"
    bl_description = "Add an image, an image sequence or a movie that is open in this file"
    bl_options = {"REGISTER", "UNDO"}
    bl_property = "choice"

    choice: EnumProperty(
        name="Image",
        description="What to add",
        items=lambda _self, _context: _loaded_items(),
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or not _loaded():
            cls.poll_message_set("There is no image and no movie in this file")
            return False
        return True

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.invoke_search_popup(self)
        return {"CANCELLED"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        block = _loaded().get(self.choice)
        if block is None:
            self.report({"ERROR"}, "That image is not in this file any more: choose another.")
            return {"CANCELLED"}
        photos = context.scene.image_to_mesh_photos
        path = Path(bpy.path.abspath(block.filepath, library=block.library))
        if block.source == "SEQUENCE":
            files = sequence_files(path)
            if not files:
                self.report({"ERROR"}, f"The files of {block.name} are gone: open them again.")
                return {"CANCELLED"}
            add_paths(photos, map(str, files))
        elif block.source == "MOVIE":
            add_paths(photos, [block.filepath])
        elif all(item.image != block for item in photos.pictures):
            item = photos.pictures.add()
            item.image = block
            item.name = block.name
            photos.active = len(photos.pictures) - 1
        return {"FINISHED"}


def _loaded() -> dict[str, bpy.types.Image | bpy.types.MovieClip]:
    """Images and movie clips that hold pictures, by an identifier that the two cannot share."""
    images = {
        f"IMAGE {image.name}": image
        for image in bpy.data.images
        if image.source != "TILED" and image.type != "RENDER_RESULT" and image.type != "COMPOSITING"
    }
    clips = {f"CLIP {clip.name}": clip for clip in bpy.data.movieclips}
    return {**images, **clips}


_items: list[tuple[str, str, str]] = []  # Blender does not keep the texts of dynamic items alive


def _loaded_items() -> list[tuple[str, str, str]]:
    _items[:] = [(key, block.name, block.filepath) for key, block in _loaded().items()]
    return _items


def sequence_files(path: Path) -> list[Path]:
    """The files of a numbered sequence, given any of them, in order of their numbers."""
    found = re.fullmatch(r"(.*?)(\d+)(\D*)", path.name)
    if found is None or not path.parent.is_dir():
        return [path] if path.is_file() else []
    pattern = re.compile(re.escape(found[1]) + r"(\d+)" + re.escape(found[3]))
    numbered = [(pattern.fullmatch(file.name), file) for file in path.parent.iterdir()]
    matched = [(int(match[1]), file) for match, file in numbered if match is not None]
    return [file for _, file in sorted(matched)]


class _NeedsPictures:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or not context.scene.image_to_mesh_photos.pictures:
            cls.poll_message_set("The list is empty")  # pyright: ignore[reportAttributeAccessIssue]
            return False
        return True


class IMAGE_TO_MESH_OT_remove_photo(_NeedsPictures, bpy.types.Operator):
    """Take the active picture off the list."""

    bl_idname = "image_to_mesh.remove_photo"
    bl_label = "Remove Picture"
    bl_description = "Take the active picture off the list; its file stays"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        photos.pictures.remove(photos.active)
        photos.active = max(0, min(photos.active, len(photos.pictures) - 1))
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_move_photo(_NeedsPictures, bpy.types.Operator):
    """Move the active picture up or down the list."""

    bl_idname = "image_to_mesh.move_photo"
    bl_label = "Move Picture"
    bl_description = "Move the active picture; the order counts for sides on a turntable"
    bl_options = {"REGISTER", "UNDO"}

    direction: EnumProperty(
        name="Direction",
        description="Where to",
        items=(("UP", "Up", "Towards the first"), ("DOWN", "Down", "Towards the last")),
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        place = photos.active + (1 if self.direction == "DOWN" else -1)
        if not (0 <= place < len(photos.pictures) and photos.active < len(photos.pictures)):
            return {"CANCELLED"}
        photos.pictures.move(photos.active, place)
        photos.active = place
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_sort_photos(_NeedsPictures, bpy.types.Operator):
    """Sort the list by name."""

    bl_idname = "image_to_mesh.sort_photos"
    bl_label = "Sort by Name"
    bl_description = "Sort the list by name, numbers by their value"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        names = [item.name for item in photos.pictures]
        order = sorted(range(len(names)), key=lambda index: natural_key(names[index]))
        now = list(range(len(names)))
        for place, index in enumerate(order):
            photos.pictures.move(now.index(index), place)
            now.remove(index)
            now.insert(place, index)
        if photos.active in order:
            photos.active = order.index(photos.active)
        return {"FINISHED"}


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts 2 before 10, and capitals among small letters."""
    parts = re.split(r"(\d+)", name.casefold())
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


class IMAGE_TO_MESH_OT_clear_photos(_NeedsPictures, bpy.types.Operator):
    """Empty the list."""

    bl_idname = "image_to_mesh.clear_photos"
    bl_label = "Clear List"
    bl_description = "Take all pictures off the list; their files stay"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        photos.pictures.clear()
        photos.active = 0
        photos.remarks = ""
        return {"FINISHED"}


class IMAGE_TO_MESH_FH_photos(bpy.types.FileHandler):
    """Photos and videos dropped into a 3D view go on the list."""

    bl_idname = "IMAGE_TO_MESH_FH_photos"
    bl_label = "Image to Mesh: Photos & Video"
    bl_import_operator = "image_to_mesh.add_photos"
    bl_file_extensions = ";".join((*EXTENSIONS, *VIDEO_EXTENSIONS))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (
    IMAGE_TO_MESH_OT_add_photos,
    IMAGE_TO_MESH_OT_add_loaded_photos,
    IMAGE_TO_MESH_OT_remove_photo,
    IMAGE_TO_MESH_OT_move_photo,
    IMAGE_TO_MESH_OT_sort_photos,
    IMAGE_TO_MESH_OT_clear_photos,
    IMAGE_TO_MESH_FH_photos,
)
