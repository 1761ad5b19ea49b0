"""Picture in, arrays out. Nothing below this package imports bpy."""
