"""MRT (RFC 6396, RFC 8050): octets to values and back, without input and output."""
