"""Changing a finished object: its shape, and other kinds of object made from it."""
