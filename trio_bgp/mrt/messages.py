"""BGP4MP and BGP4MP_ET: messages and state changes of sessions (RFC 6396, section 4.4; RFC 8050, section 3)."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

import attrs

from trio_bgp.mrt.fields import AFI_IPV4, AFI_IPV6, Fields, address_of_afi
from trio_bgp.mrt.records import BGP4MP_ET, MrtError, Record
from trio_bgp.wire.header import HEADER_LENGTH, MARKER
from trio_bgp.wire.numbers import AS_TRANS

__all__ = ["ESTABLISHED", "IDLE", "Message", "Session", "StateChange", "decode_bgp4mp", "encode_bgp4mp"]

IDLE: Final = 1
ESTABLISHED: Final = 6
"""States by their numbers in RFC 6396, section 4.4.1: Idle, Connect, Active, OpenSent, OpenConfirm, Established."""

STATE_CHANGE: Final = 0
STATE_CHANGE_AS4: Final = 5
_MESSAGES: Final = {
    # asn4, sent by the collector, with path identifiers
    1: (False, False, False),
    4: (True, False, False),
    6: (False, True, False),
    7: (True, True, False),
    8: (False, False, True),
    9: (True, False, True),
    10: (False, True, True),
    11: (True, True, True),
}
_SUBTYPES: Final = {kind: subtype for subtype, kind in _MESSAGES.items()}


@attrs.frozen
class Session:
    """Between whom: the peer, and the collector as the local side.

    Attributes:
        peer_as: AS_TRANS in records with AS numbers of two octets stands for one that does not fit.
        local_as: likewise.
        peer_address: of the same IP version as `local_address`.
        local_address: all zeros if it is not known.
        interface: its index; 0 if it is not known.
    """

    peer_as: int
    local_as: int
    peer_address: IPv4Address | IPv6Address
    local_address: IPv4Address | IPv6Address
    interface: int = 0


@attrs.frozen
class Message:
    """A whole BGP message.

    Attributes:
        session: of which it is.
        octets: header included.
        asn4: AS numbers in it have four octets.
        local: it was sent by the collector.
        add_path: NLRI in it have path identifiers.
    """

    session: Session
    octets: bytes
    asn4: bool = True
    local: bool = False
    add_path: bool = False


@attrs.frozen
class StateChange:
    """A session went from one state to another, by their numbers. `asn4`: as for `Message`."""

    session: Session
    old: int
    new: int
    asn4: bool = True


def encode_bgp4mp(value: Message | StateChange, seconds: int, microseconds: int, kind: int = BGP4MP_ET) -> Record:
    """The record of a value at a time; `kind` is `BGP4MP` or `BGP4MP_ET`."""
    session = value.session
    width = 4 if value.asn4 else 2
    head = b"".join(
        (
            _as_octets(session.peer_as, width),
            _as_octets(session.local_as, width),
            session.interface.to_bytes(2, "big"),
            (AFI_IPV4 if session.peer_address.version == 4 else AFI_IPV6).to_bytes(2, "big"),
            session.peer_address.packed,
            session.local_address.packed,
        )
    )
    if isinstance(value, StateChange):
        subtype = STATE_CHANGE_AS4 if value.asn4 else STATE_CHANGE
        body = head + value.old.to_bytes(2, "big") + value.new.to_bytes(2, "big")
    else:
        subtype = _SUBTYPES[value.asn4, value.local, value.add_path]
        body = head + value.octets
    return Record(kind, subtype, seconds, microseconds if kind == BGP4MP_ET else 0, body)


def decode_bgp4mp(record: Record) -> Message | StateChange | None:
    """What a record of type `BGP4MP` or `BGP4MP_ET` says; None for a subtype that is not of RFC 6396 or RFC 8050.

    Raises:
        MrtError: it is malformed.
    """
    change = record.subtype in (STATE_CHANGE, STATE_CHANGE_AS4)
    if not change and record.subtype not in _MESSAGES:
        return None
    asn4, local, add_path = (record.subtype == STATE_CHANGE_AS4, False, False) if change else _MESSAGES[record.subtype]
    fields = Fields(record.body, "a BGP4MP record")
    width = 4 if asn4 else 2
    peer_as, local_as, interface = fields.number(width), fields.number(width), fields.number(2)
    afi = fields.number(2)
    if afi not in (AFI_IPV4, AFI_IPV6):
        raise MrtError(f"a BGP4MP record with addresses of AFI {afi}")
    size = 4 if afi == AFI_IPV4 else 16
    peer, own = address_of_afi(fields.take(size)), address_of_afi(fields.take(size))
    session = Session(peer_as, local_as, peer, own, interface)
    if change:
        old, new = fields.number(2), fields.number(2)
        fields.finish()
        return StateChange(session, old, new, asn4)
    octets = fields.rest()
    if len(octets) < HEADER_LENGTH or not octets.startswith(MARKER):
        raise MrtError("a BGP4MP record without a BGP message")
    length = int.from_bytes(octets[16:18], "big")
    if length != len(octets):
        raise MrtError(f"a BGP message of {length} octets in {len(octets)}")
    return Message(session, octets, asn4, local, add_path)


def _as_octets(number: int, width: int) -> bytes:
    return (number if width == 4 or number <= 0xFFFF else AS_TRANS).to_bytes(width, "big")
