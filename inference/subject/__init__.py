"""What a picture shows: found, chosen by the artist, and looked at closely."""
