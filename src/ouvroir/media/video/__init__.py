"""Videos: to a class, or new ones of a class."""
