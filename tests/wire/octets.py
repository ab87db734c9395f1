"""Octets for the tests of this folder, put together here and not by the code under test."""

__all__ = ["attribute", "message"]


def message(kind: int, body: str | bytes = b"") -> bytes:
    """A whole message as RFC 4271, section 4.1 has it: 16 octets of ones, length, type, body (octets or hex)."""
    octets = bytes.fromhex(body) if isinstance(body, str) else body
    length = 19 + len(octets)
    return b"\xff" * 16 + bytes((length // 256, length % 256, kind)) + octets


def attribute(flags: int, kind: int, value: str | bytes = b"") -> bytes:
    """A path attribute as RFC 4271, section 4.3 has it; `flags` decide how wide its length is."""
    octets = bytes.fromhex(value) if isinstance(value, str) else value
    length = len(octets)
    width = (length // 256, length % 256) if flags & 0x10 else (length,)
    return bytes((flags, kind, *width)) + octets
