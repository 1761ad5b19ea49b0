"""Which networks run, and one form for what they say."""
