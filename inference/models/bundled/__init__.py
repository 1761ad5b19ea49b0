"""The built-in networks and their weights; no download needed."""
