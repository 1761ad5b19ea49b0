"""Networks that make or complete pixels: upscaling and filling."""
