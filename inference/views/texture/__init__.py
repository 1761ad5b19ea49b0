"""The texture of a surface from many pictures."""
