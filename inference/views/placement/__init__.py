"""Where the subject is, which way is up, how large it is, and where the result goes."""
