"""The pictures of a set: found, read, judged; frames of videos; positions in photo files."""
