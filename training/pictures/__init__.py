"""Rendered pictures of them with exact geometry of what they show."""
