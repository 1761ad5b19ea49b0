"""Many pictures of one thing or place: reading them, their cameras, and the surface they share."""
