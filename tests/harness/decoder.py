"""A tiny BGP codec of its own, written from the RFCs, so that tests do not believe the code they test."""

import struct

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
V4 = (1, 1)
V6 = (2, 1)

Family = tuple[int, int]
Route = tuple[Family, bytes]
"""A family and a prefix: its length octet and its octets."""
Attribute = tuple[int, int, bytes]
"""Flags without the extended-length bit, type, value."""


def message(kind: int, body: bytes = b"") -> bytes:
    """A whole message."""
    return MARKER + struct.pack(">HB", 19 + len(body), kind) + body


def attribute(flags: int, kind: int, value: bytes) -> bytes:
    """One path attribute."""
    if len(value) > 255:
        return struct.pack(">BBH", flags | 0x10, kind, len(value)) + value
    return struct.pack(">BBB", flags, kind, len(value)) + value


def open_message(
    asn: int,
    identifier: int,
    *,
    hold_time: int = 90,
    families: tuple[Family, ...] = (V4,),
    extended: bool = False,
    asn4: bool = True,
    enhanced_refresh: bool = False,
) -> bytes:
    """An OPEN with one capability for each parameter."""
    capabilities = [struct.pack(">BBHBB", 1, 4, afi, 0, safi) for afi, safi in families]
    capabilities.append(b"\x02\x00")
    if asn4:
        capabilities.append(struct.pack(">BBI", 65, 4, asn))
    if extended:
        capabilities.append(b"\x06\x00")
    if enhanced_refresh:
        capabilities.append(b"\x46\x00")
    parameters = b"".join(struct.pack(">BB", 2, len(each)) + each for each in capabilities)
    my_as = asn if asn < 65536 else 23456
    return message(OPEN, struct.pack(">BHHIB", 4, my_as, hold_time, identifier, len(parameters)) + parameters)


def update(withdrawn: bytes = b"", attributes: bytes = b"", nlri: bytes = b"") -> bytes:
    """A whole UPDATE."""
    return message(
        UPDATE,
        struct.pack(">H", len(withdrawn)) + withdrawn + struct.pack(">H", len(attributes)) + attributes + nlri,
    )


def as_path(*numbers: int) -> bytes:
    """An AS_PATH attribute of one sequence."""
    value = struct.pack(">BB", 2, len(numbers)) + b"".join(struct.pack(">I", n) for n in numbers) if numbers else b""
    return attribute(0x40, 2, value)


def announce(routes: list[Route], attributes: bytes, next_hop: bytes) -> bytes:
    """An UPDATE that announces routes of one family; `attributes` without next hop."""
    family = routes[0][0]
    octets = b"".join(prefix for _, prefix in routes)
    if family == V4:
        return update(b"", attributes + attribute(0x40, 3, next_hop), octets)
    reach = struct.pack(">HBB", *family, len(next_hop)) + next_hop + b"\0" + octets
    return update(b"", attribute(0x80, 14, reach) + attributes, b"")


def withdraw(routes: list[Route]) -> bytes:
    """An UPDATE that withdraws routes of one family."""
    family = routes[0][0]
    octets = b"".join(prefix for _, prefix in routes)
    if family == V4:
        return update(octets)
    return update(b"", attribute(0x80, 15, struct.pack(">HB", *family) + octets), b"")


def prefixes(octets: bytes) -> list[bytes]:
    """Each prefix of a field; asserts that the field is whole and no bit is set after a prefix."""
    found = []
    position = 0
    while position < len(octets):
        bits = octets[position]
        size = (bits + 7) // 8
        prefix = octets[position : position + 1 + size]
        assert len(prefix) == 1 + size, "a prefix exceeds its field"
        found.append(prefix)
        position += 1 + size
    return found


def attributes_of(octets: bytes) -> list[Attribute]:
    """The attributes of a block."""
    found = []
    position = 0
    while position < len(octets):
        flags, kind = octets[position], octets[position + 1]
        if flags & 0x10:
            size = int.from_bytes(octets[position + 2 : position + 4], "big")
            start = position + 4
        else:
            size = octets[position + 2]
            start = position + 3
        assert start + size <= len(octets), "an attribute exceeds the block"
        found.append((flags & 0xEF, kind, octets[start : start + size]))
        position = start + size
    return found


class Update:
    """What an UPDATE says.

    `announced` maps routes to their attributes without MP attributes, with the next hop as attribute (0, 0, octets).
    """

    def __init__(self, whole: bytes) -> None:
        body = whole[19:]
        size = int.from_bytes(body[:2], "big")
        withdrawn = body[2 : 2 + size]
        rest = body[2 + size :]
        size = int.from_bytes(rest[:2], "big")
        block, nlri = rest[2 : 2 + size], rest[2 + size :]
        assert len(block) == size, "the attributes exceed the message"
        self.withdrawn: list[Route] = [(V4, prefix) for prefix in prefixes(withdrawn)]
        self.announced: dict[Route, tuple[Attribute, ...]] = {}
        self.end_of_rib: Family | None = None
        found = attributes_of(block)
        plain = tuple(each for each in found if each[1] not in (14, 15))
        assert len({kind for _, kind, _ in found}) == len(found), "an attribute appears twice"
        for _, kind, value in found:
            afi, safi = struct.unpack(">HB", value[:3]) if kind in (14, 15) else (0, 0)
            if kind == 15:
                self.withdrawn += [((afi, safi), prefix) for prefix in prefixes(value[3:])]
                if len(value) == 3 and len(found) == 1 and not nlri and not withdrawn:
                    self.end_of_rib = (afi, safi)
            elif kind == 14:
                hop = value[4 : 4 + value[3]]
                for prefix in prefixes(value[5 + value[3] :]):
                    self.announced[(afi, safi), prefix] = ((0, 0, hop), *plain)
        hops = [value for _, kind, value in plain if kind == 3]
        for prefix in prefixes(nlri):
            assert hops, "IPv4 prefixes without NEXT_HOP"
            self.announced[V4, prefix] = plain
        if len(whole) == 23:
            self.end_of_rib = V4
