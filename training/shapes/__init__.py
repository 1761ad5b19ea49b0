"""Meshes to learn from: cached objects and what procedures make."""
