"""How right a result is: its shape, field, surface, UV map and matched camera against the truth."""
