"""Masks of the subject: from transparency, colours, a plain background or clicks; cleaned and refined."""
