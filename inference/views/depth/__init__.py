"""A depth map for each view: from its neighbours, guessed by a network, filled."""
