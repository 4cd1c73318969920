"""`make bench`: how fast it is, compared with other ways to host the same bot."""
