"""Several photos or a video become one mesh."""
