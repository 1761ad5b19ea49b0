"""Seeing, picking and painting the cut-out of the subject."""
