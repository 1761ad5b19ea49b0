"""Running one job on a thread: the thread, its costs, its failures, and giving way to Blender."""
