"""The subject apart from its surroundings, in all views at once."""
