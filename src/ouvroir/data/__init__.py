"""Rows, admission, splits and packs: everything about data that does not depend on the medium."""
