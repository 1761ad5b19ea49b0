"""Networks that estimate depth."""
