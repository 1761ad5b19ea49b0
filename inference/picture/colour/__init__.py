"""Colour spaces that pictures come in, and the way from there to sRGB."""
