"""Octets to values and back, one kind of message a file. No input or output, no clock, no session."""
