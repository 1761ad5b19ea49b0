"""Several photos of one thing or place: rendered with their truth, and what is made of them."""
