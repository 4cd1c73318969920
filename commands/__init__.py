"""`make X` is commands/X.py."""
