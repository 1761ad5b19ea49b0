"""The surface that the views share: fused, refined by volume rendering, previewed."""
