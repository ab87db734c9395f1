"""Connection collision detection (RFC 4271, section 6.8)."""

__all__ = ["keeps_incoming"]


def keeps_incoming(local_identifier: int, remote_identifier: int, local_as: int, remote_as: int) -> bool:
    """Of two connections between the same speakers, whether the one the peer opened is kept.

    The connection opened by the speaker with the higher BGP Identifier is kept; if the identifiers are equal, which
    external peers may be, the one opened by the speaker with the higher AS number (RFC 6286, section 2.3).
    """
    return (local_identifier, local_as) < (remote_identifier, remote_as)
