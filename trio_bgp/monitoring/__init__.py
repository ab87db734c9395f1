"""Readers of what happens: BMP stations. None of them can end or delay the daemon."""
