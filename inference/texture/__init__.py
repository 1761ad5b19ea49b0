"""Textures: UV charts, atlas, projection of the picture, completion of what it does not show."""
