"""Pictures: load, orient, find the camera, cut out the subject."""

import os

# OpenCV reads this once, at its first picture; without it, it refuses OpenEXR files.
os.environ.setdefault("OPENCV_IO_ENABLE_OPENEXR", "1")
