"""Many pictures become files."""
