"""Surfaces: from a field or a depth map to a clean mesh."""
