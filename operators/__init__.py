"""What a button does."""

from __future__ import annotations

import bpy

from . import (
    batch,
    cancel,
    check_cutout,
    command,
    copy_report,
    derive,
    finish_now,
    generate,
    import_picture,
    live,
    models,
    photo_batch,
    photo_list,
    photo_options,
    photo_scale,
    photos,
    pick_subject,
    refine,
    session,
    shaping,
)

CLASSES = (
    generate.IMAGE_TO_MESH_OT_generate,
    cancel.IMAGE_TO_MESH_OT_cancel,
    finish_now.IMAGE_TO_MESH_OT_finish_now,
    check_cutout.IMAGE_TO_MESH_OT_check_cutout,
    check_cutout.IMAGE_TO_MESH_OT_new_mask,
    pick_subject.IMAGE_TO_MESH_OT_pick_subject,
    copy_report.IMAGE_TO_MESH_OT_copy_report,
    import_picture.IMAGE_TO_MESH_OT_import_picture,
    import_picture.IMAGE_TO_MESH_FH_picture,
    batch.IMAGE_TO_MESH_OT_batch,
    refine.IMAGE_TO_MESH_OT_refine,
    *models.CLASSES,
    derive.IMAGE_TO_MESH_OT_add_point_cloud,
    derive.IMAGE_TO_MESH_OT_add_volume,
    *photo_options.CLASSES,
    *photo_list.CLASSES,
    *photos.CLASSES,
    *photo_batch.CLASSES,
    *photo_scale.CLASSES,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    shaping.register()
    photo_options.register()
    session.register()
    cancel.register()
    import_picture.register()
    command.register()


def unregister() -> None:
    command.unregister()
    import_picture.unregister()
    cancel.unregister()
    live.unregister()
    session.unregister()
    photo_options.unregister()
    shaping.unregister()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
