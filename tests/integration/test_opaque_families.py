"""Families this program has never heard of, declared in the configuration by their framing rule alone."""

import struct

import pytest
from trio.testing import MockClock

from tests.harness import decoder
from tests.harness.lab import lab
from trio_bgp.config.reader import parse_settings

CONFIGURATION = """
[speaker]
local_as = 65000
bgp_identifier = "10.255.0.1"
listen = ["127.0.0.1:1790"]

[families.my-draft]
afi = 16388
safi = {safi}
nlri_length = "{rule}"

[groups.members]
families = ["my-draft", "ipv4-unicast"]
enforce_first_as = false
passive = true

[[peers]]
name = "p1"
address = "192.0.2.1"
peer_as = 65001
group = "members"

[[peers]]
name = "p2"
address = "192.0.2.2"
peer_as = 65002
group = "members"

[[peers]]
name = "p3"
address = "192.0.2.3"
peer_as = 65000
group = "members"
role = "rr-client"

[[peers]]
name = "p4"
address = "192.0.2.4"
peer_as = 65004
group = "members"

[[peers]]
name = "p5"
address = "192.0.2.5"
peer_as = 65005
group = "members"
families = ["ipv4-unicast"]
"""
ROUTES = {
    "bits": [b"\x00", b"\x09\xff\xff", b"\xff" + bytes(32)],
    "u8": [b"\x00", b"\x01x", b"\xff" + bytes(255)],
    "u16": [b"\x00\x00", b"\x00\x03xyz", b"\x02\x00" + bytes(512)],
    "type-u8": [b"\x01\x00", b"\x02\x03xyz"],
    "type-u16": [b"\xff\xff\x00\x00", b"\x00\x01\x00\x03xyz", b"\x00\x02\x02\x00" + bytes(512)],
    "architecture-type-u8": [b"\x01\x00\x02\x00", b"\x07\x00\x02\x03xyz"],
    "flowspec": [b"\x00", b"\x03xyz", b"\xf2\x00" + bytes(512)],
}
"""By framing rule some routes; what is in them means nothing to anybody."""
HOP = b"\x07" + bytes(range(31))
"""A next hop of 32 octets, in which no address is known."""


@pytest.mark.parametrize(
    ("safi", "rule"), [*((99, rule) for rule in ROUTES), (71, "u16")], ids=[*ROUTES, "bgp-ls with another rule"]
)
async def test_it_is_relayed_octet_for_octet(safi: int, rule: str, autojump_clock: MockClock) -> None:
    """To a server's clients as it came; to a reflector's, to late joiners and in withdrawals each route whole."""
    settings = parse_settings(CONFIGURATION.format(safi=safi, rule=rule), "c.toml")
    family = (16388, safi)
    routes = ROUTES[rule]
    speaker = settings.speaker
    async with lab(*settings.peers, framing=speaker.framing) as the_lab:
        one, two = [await the_lab.join(number, families=(family,), raw=True) for number in (1, 2)]
        three = await the_lab.join(3, families=(family,), raw=True, asn=65000)
        five = await the_lab.join(5, families=(decoder.V4, family), raw=True)
        for client in (two, three, five):
            client.updates.clear()
        hop = HOP if safi == 99 else HOP[:16]
        reach = struct.pack(">HBB", *family, len(hop)) + hop + b"\0" + b"".join(routes)
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001) + decoder.attribute(0x80, 201, b"own")
        whole = decoder.update(b"", decoder.attribute(0x80, 14, reach) + attributes)
        await one.say(whole)
        await the_lab.settle()
        assert two.updates == [whole]
        assert [decoder.attribute(0x80, 14, reach) in each for each in three.updates] == [True]
        late = await the_lab.join(4, families=(family,), raw=True)
        assert any(decoder.attribute(0x80, 14, reach) in each for each in late.updates)
        gone = decoder.update(b"", decoder.attribute(0x80, 15, struct.pack(">HB", *family) + routes[1]))
        await one.say(gone)
        await the_lab.settle()
        for client in (two, three):
            assert client.updates[1:] == [gone]
        assert late.log[-1] == gone
        assert five.updates == []
        assert one.notifications == []
