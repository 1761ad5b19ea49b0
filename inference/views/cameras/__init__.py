"""Where the pictures were taken: read from files or estimated, with mirrors and repeats sorted out."""
