"""A tiny BGP codec of its own, written from the RFCs, so that tests do not believe the code they test."""

import struct

MARKER = b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE, REFRESH = 1, 2, 3, 4, 5
V4 = (1, 1)
V6 = (2, 1)
VPN4 = (1, 128)
EVPN = (25, 70)
BGP_LS = (16388, 71)
LABELLED = (4, 128, 129)
"""SAFIs whose NLRI begin with MPLS labels."""
OPAQUE = (16388, 99)
"""Of a family nobody has heard of, with two octets of length before each NLRI."""

Family = tuple[int, int]
Route = tuple[Family, bytes]
"""A family and a prefix: its length octet and its octets (without label; with ADD-PATH: behind the path identifier)."""
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
    add_path: int = 0,
    extra: tuple[bytes, ...] = (),
) -> bytes:
    """An OPEN with one capability for each parameter; `add_path` is the mode for all families, `extra` whole ones."""
    capabilities = [struct.pack(">BBHBB", 1, 4, afi, 0, safi) for afi, safi in families]
    capabilities.append(b"\x02\x00")
    if asn4:
        capabilities.append(struct.pack(">BBI", 65, 4, asn))
    if extended:
        capabilities.append(b"\x06\x00")
    if enhanced_refresh:
        capabilities.append(b"\x46\x00")
    if add_path:
        entries = b"".join(struct.pack(">HBB", afi, safi, add_path) for afi, safi in families)
        capabilities.append(struct.pack(">BB", 69, len(entries)) + entries)
    capabilities += extra
    parameters = b"".join(struct.pack(">BB", 2, len(each)) + each for each in capabilities)
    front = struct.pack(">BHHI", 4, asn if asn < 65536 else 23456, hold_time, identifier)
    if len(parameters) < 255:
        return message(OPEN, front + struct.pack(">B", len(parameters)) + parameters)
    parameters = b"".join(struct.pack(">BH", 2, len(each)) + each for each in capabilities)
    return message(OPEN, front + struct.pack(">BBH", 255, 255, len(parameters)) + parameters)


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


def _size(head: bytes, family: Family) -> int:
    """Octets of the NLRI that begins so."""
    safi = family[1]
    if family == OPAQUE or safi == 65:
        return 2 + int.from_bytes(head[:2], "big")
    if safi in (5, 70):
        return 2 + head[1]
    if safi in (71, 72):
        return 4 + int.from_bytes(head[2:4], "big")
    if safi == 85:
        return 4 + head[3]
    if safi in (133, 134):
        return 1 + head[0] if head[0] < 0xF0 else 2 + int.from_bytes(head[:2], "big") % 4096
    return 1 + (head[0] + 7) // 8


def prefixes(octets: bytes, family: Family = V4, *, add_path: bool = False) -> list[tuple[bytes, bytes]]:
    """Each route of a field and what its NLRI says besides; asserts that the field is whole.

    What is besides: labels; segment, gateway and labels of EVPN routes.
    """
    found = []
    position = 0
    while position < len(octets):
        identifier = b""
        if add_path:
            identifier = octets[position : position + 4]
            position += 4
            assert position < len(octets), "a path identifier without NLRI"
        size = _size(octets[position : position + 4], family)
        nlri = octets[position : position + size]
        assert len(nlri) == size, "a prefix exceeds its field"
        position += size
        besides = b""
        if family[1] in (1, 2) and nlri[0] % 8:
            # RFC 4271, section 4.3: what is behind the prefix means nothing.
            nlri = nlri[:-1] + bytes((nlri[-1] & 0xFF00 >> nlri[0] % 8,))
        if family[1] in LABELLED:
            end = 4
            while not nlri[end - 1] & 1 and nlri[end - 3 : end] not in (b"\x80\0\0", b"\0\0\0"):
                end += 3
            besides = nlri[1:end]
            nlri = bytes((nlri[0] - 8 * len(besides),)) + nlri[end:]
        elif family == EVPN and nlri[0] == 1:
            besides = nlri[24:]
            nlri = b"\x01" + nlri[2:24]
        elif family == EVPN and nlri[0] in (2, 5):
            # RFC 7432, section 7.2: MAC and IP; RFC 9136, section 3.1: as many octets of prefix as of gateway.
            end = 32 + nlri[31] // 8 if nlri[0] == 2 else 25 + (len(nlri) - 28) // 2
            besides = nlri[10:20] + nlri[end:]
            nlri = nlri[:1] + nlri[2:10] + nlri[20:end]
        found.append((identifier + nlri, besides))
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

    `announced` maps routes to their attributes without MP attributes, with the next hop as attribute (0, 0, octets) and
    what the NLRI says besides the route as (0, 1, octets).
    """

    def __init__(self, whole: bytes, *, add_path: bool = False) -> None:
        body = whole[19:]
        size = int.from_bytes(body[:2], "big")
        withdrawn = body[2 : 2 + size]
        rest = body[2 + size :]
        size = int.from_bytes(rest[:2], "big")
        block, nlri = rest[2 : 2 + size], rest[2 + size :]
        assert len(block) == size, "the attributes exceed the message"
        self.withdrawn: list[Route] = [(V4, prefix) for prefix, _ in prefixes(withdrawn, add_path=add_path)]
        self.announced: dict[Route, tuple[Attribute, ...]] = {}
        self.end_of_rib: Family | None = None
        found = attributes_of(block)
        plain = tuple(each for each in found if each[1] not in (14, 15))
        assert len({kind for _, kind, _ in found}) == len(found), "an attribute appears twice"
        for _, kind, value in found:
            afi, safi = struct.unpack(">HB", value[:3]) if kind in (14, 15) else (0, 0)
            if kind == 15:
                field = prefixes(value[3:], (afi, safi), add_path=add_path)
                self.withdrawn += [((afi, safi), prefix) for prefix, _ in field]
                if len(value) == 3 and len(found) == 1 and not nlri and not withdrawn:
                    self.end_of_rib = (afi, safi)
            elif kind == 14:
                hop = value[4 : 4 + value[3]]
                for prefix, besides in prefixes(value[5 + value[3] :], (afi, safi), add_path=add_path):
                    more: tuple[Attribute, ...] = ((0, 1, besides),) if besides else ()
                    self.announced[(afi, safi), prefix] = ((0, 0, hop), *more, *plain)
        hops = [value for _, kind, value in plain if kind == 3]
        for prefix, _ in prefixes(nlri, add_path=add_path):
            assert hops, f"IPv4 prefixes without NEXT_HOP: {whole.hex()}"
            self.announced[V4, prefix] = plain
        if len(whole) == 23:
            self.end_of_rib = V4
