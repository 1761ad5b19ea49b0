"""Measurements and the scripts behind make demo and make mesh; not part of the extension."""
