"""Picture files: recognised, decoded within bounded memory, brought to upright 8-bit sRGB."""
