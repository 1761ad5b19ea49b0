"""What the artist sees of a run in the window: where its result arrives, and how far it has come."""
