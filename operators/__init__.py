"""What a button does."""

from __future__ import annotations

import bpy

from . import (
    batch,
    cancel,
    check_cutout,
    command,
    copy_report,
    generate,
    import_picture,
    session,
)

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (
        generate.IMAGE_TO_MESH_OT_generate,
        cancel.IMAGE_TO_MESH_OT_cancel,
        check_cutout.IMAGE_TO_MESH_OT_check_cutout,
        check_cutout.IMAGE_TO_MESH_OT_new_mask,
        copy_report.IMAGE_TO_MESH_OT_copy_report,
        import_picture.IMAGE_TO_MESH_OT_import_picture,
        import_picture.IMAGE_TO_MESH_FH_picture,
        batch.IMAGE_TO_MESH_OT_batch,
    )
)


def register() -> None:
    _register_classes()
    session.register()
    cancel.register()
    import_picture.register()
    command.register()


def unregister() -> None:
    command.unregister()
    import_picture.unregister()
    cancel.unregister()
    session.unregister()
    _unregister_classes()
