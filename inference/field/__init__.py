"""Fields: one question, query(points) -> signed distance."""
