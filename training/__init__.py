"""Scripts that make the training pictures and train the bundled network; not part of the extension."""
