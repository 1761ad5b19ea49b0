"""Downloadable networks: beside their references, and run from picture to mesh."""
