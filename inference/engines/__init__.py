"""Engines: one recipe for each kind of result."""
