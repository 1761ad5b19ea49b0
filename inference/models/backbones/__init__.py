"""Layers and encoders that several networks are built on."""
