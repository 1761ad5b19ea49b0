"""Pictures: load, orient, find the camera, cut out the subject."""
