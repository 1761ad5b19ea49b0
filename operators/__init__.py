"""What a button does."""

from __future__ import annotations

import bpy

from . import cancel, command, copy_report, generate, import_picture, models, session
from .batch import folder
from .cut_out import check, pick, tinted
from .photos import batch as photo_batch
from .photos import finish_now, listing, reconstruct, scale
from .photos import options as photo_options
from .refine import derive, live, live_undo, refine, shaping
from .view import belonging, message, onlooker, status_bar

CLASSES = (
    generate.IMAGE_TO_MESH_OT_generate,
    cancel.IMAGE_TO_MESH_OT_cancel,
    finish_now.IMAGE_TO_MESH_OT_finish_now,
    check.IMAGE_TO_MESH_OT_check_cutout,
    check.IMAGE_TO_MESH_OT_new_mask,
    check.IMAGE_TO_MESH_OT_edit_mask,
    pick.IMAGE_TO_MESH_OT_pick_subject,
    copy_report.IMAGE_TO_MESH_OT_copy_report,
    message.IMAGE_TO_MESH_OT_show_message,
    import_picture.IMAGE_TO_MESH_OT_import_picture,
    import_picture.IMAGE_TO_MESH_FH_picture,
    folder.IMAGE_TO_MESH_OT_batch,
    refine.IMAGE_TO_MESH_OT_refine,
    *models.CLASSES,
    derive.IMAGE_TO_MESH_OT_add_point_cloud,
    derive.IMAGE_TO_MESH_OT_add_volume,
    *photo_options.CLASSES,
    *listing.CLASSES,
    *reconstruct.CLASSES,
    *photo_batch.CLASSES,
    *scale.CLASSES,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    belonging.register()
    tinted.register()
    shaping.register()
    refine.register()
    live_undo.register()
    photo_options.register()
    session.register()
    onlooker.register()
    status_bar.register()
    cancel.register()
    import_picture.register()
    command.register()


def unregister() -> None:
    command.unregister()
    import_picture.unregister()
    cancel.unregister()
    live_undo.unregister()
    live.unregister()
    onlooker.unregister()
    session.unregister()
    status_bar.unregister()
    photo_options.unregister()
    shaping.unregister()
    tinted.unregister()
    belonging.unregister()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
