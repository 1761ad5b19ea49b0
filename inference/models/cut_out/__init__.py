"""Networks that separate the subject from its background."""
