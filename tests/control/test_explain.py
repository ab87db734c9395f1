"""`explain`: each reason for which a receiver has, has not, or has something else than what was received."""

import contextlib
from collections.abc import AsyncIterator
from ipaddress import IPv4Address
from typing import Any

import attrs
import pytest

from tests.harness import decoder
from tests.harness.decoder import V4, V6
from tests.harness.lab import Lab, lab, peer_settings
from trio_bgp.control.routes import parse_prefix
from trio_bgp.control.snapshot import Snapshot, Wanted
from trio_bgp.settings import AddPathSettings, BgpRole, PeerSettings, Policy, Role

TEN = b"\x08\x0a"
OURS = 65000


def internal(number: int, role: Role, **changes: Any) -> PeerSettings:
    """An internal peer."""
    return peer_settings(number, peer_as=OURS, role=role, **changes)


def announcement(number: int, more: bytes = b"", path: tuple[int, ...] | None = None) -> bytes:
    """10.0.0.0/8 from a peer."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(*((65000 + number,) if path is None else path))
    return decoder.announce([(V4, TEN)], block + more, bytes((192, 0, 2, number)))


def told(the_lab: Lab, receiver: str, prefix: str = "10.0.0.0/8") -> dict[str, Any]:
    """What `explain` says."""
    found = Snapshot(the_lab.speaker).explain(*parse_prefix(prefix, None), receiver)
    assert found is not None
    return found


def path_of(the_lab: Lab, receiver: str, source: str = "p1") -> dict[str, Any]:
    """What it says of the path from one peer."""
    return next(path for path in told(the_lab, receiver)["paths"] if path["from"] == source)


@contextlib.asynccontextmanager
async def two(
    one: PeerSettings, other: PeerSettings, more: bytes = b"", path: tuple[int, ...] | None = None, **receiver: Any
) -> AsyncIterator[Lab]:
    """A daemon with 10.0.0.0/8 from peer 1, and peer 2."""
    async with lab(one, other) as the_lab:
        asn: Any = {"asn": OURS} if one.role.internal else {}
        sender = await the_lab.join(1, families=(V4,), **asn)
        if other.role.internal:
            receiver["asn"] = OURS
        await the_lab.join(2, families=(V4,), **receiver)
        await sender.say(announcement(1, more, path))
        await the_lab.settle()
        yield the_lab


def changed(path: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The changes, by attribute."""
    return {change["attribute"]: (change["from"], change["to"]) for change in path["changes"]}


async def test_a_route_servers_client_gets_the_octets() -> None:
    """RFC 7947: unchanged, and the counters of the daemon say the same."""
    async with two(peer_settings(1), peer_settings(2)) as the_lab:
        path = path_of(the_lab, "p2")
        assert (path["verdict"], path["why"]) == ("unchanged", "p2 can read the received octets as they are")
        assert "changes" not in path
        assert path_of(the_lab, "p1")["why"] == "it is its own"
        assert the_lab.speaker.forwarder.statistics().messages_unchanged == 1


async def test_an_ordinary_external_peer_gets_our_as_and_next_hop() -> None:
    """RFC 4271: what is changed is each attribute that differs in what is sent, with why."""
    ebgp = peer_settings(2, role=Role.EBGP, export_policy=Policy.ACCEPT)
    ebgp = attrs.evolve(ebgp, next_hop_ipv4=IPv4Address("192.0.2.254"))
    more = (
        decoder.attribute(0x80, 4, b"\0\0\0\7") + decoder.attribute(0x80, 99, b"x") + decoder.attribute(0xC0, 98, b"y")
    )
    async with two(peer_settings(1), ebgp, more) as the_lab:
        path = path_of(the_lab, "p2")
        assert (path["verdict"], path["why"]) == ("rewritten", "p2's role is ebgp")
        assert changed(path) == {
            "as_path": ("65001", "65000 65001"),
            "next_hop": ("192.0.2.1", "192.0.2.254"),
            "med": (7, None),
            "attribute 99": ("78", None),
            "attribute 98": ("", "Partial"),
        }
        assert [change["why"] for change in path["changes"]][:1] == ["our AS in front"]


async def test_a_reflectors_client_gets_where_it_came_from() -> None:
    """RFC 4456, section 8."""
    async with two(internal(1, Role.RR_CLIENT), internal(2, Role.RR_CLIENT), path=()) as the_lab:
        path = path_of(the_lab, "p2")
        assert path["verdict"] == "rewritten"
        assert path["why"] == "it is from an internal peer, and p2's role is rr-client"
        assert changed(path) == {
            "local_pref": (None, 100),
            "originator_id": (None, "10.0.0.1"),
            "cluster_list": (None, ["10.255.0.1"]),
        }


async def test_who_reads_narrow_as_numbers_gets_them() -> None:
    """RFC 6793."""
    async with two(peer_settings(1), peer_settings(2), path=(65001, 4200000000), asn4=False) as the_lab:
        path = path_of(the_lab, "p2")
        assert path["verdict"] == "rewritten"
        assert path["why"] == "p2 reads AS numbers of 2 octets, they came in 4 (RFC 6793)"
        assert changed(path)["as_path"] == ("65001 4200000000", "65001 23456")
        assert "as4_path" in changed(path)


async def test_path_identifiers_are_written_in_front() -> None:
    """RFC 7911: the attributes are the same."""
    receiver: Any = {"add_path": 1, "receives_add_path": True}
    async with two(peer_settings(1), peer_settings(2, add_path=AddPathSettings(send=2)), **receiver) as the_lab:
        path = path_of(the_lab, "p2")
        assert path["verdict"] == "rewritten"
        assert path["why"] == "p2 has path identifiers, unlike p1 (RFC 7911)"
        assert path["changes"] == []


@pytest.mark.parametrize(
    ("community", "name"),
    [(0xFFFFFF01, "NO_EXPORT"), (0xFFFFFF02, "NO_ADVERTISE"), (0xFFFFFF03, "NO_EXPORT_SUBCONFED")],
)
async def test_a_community_keeps_it(community: int, name: str) -> None:
    """RFC 1997; it is among what `noexport` lists."""
    more = decoder.attribute(0xC0, 8, community.to_bytes(4, "big"))
    ebgp = peer_settings(2, role=Role.EBGP, export_policy=Policy.ACCEPT)
    async with two(peer_settings(1), ebgp, more) as the_lab:
        path = path_of(the_lab, "p2")
        assert (path["verdict"], path["why"]) == ("not sent", f"it has the community {name} (RFC 1997)")
        snapshot = Snapshot(the_lab.speaker)
        kept = [each async for batch in snapshot.routes(Wanted(receiver="p2", withheld=True)) for each in batch]
        assert [each["prefix"] for each in kept] == ["10.0.0.0/8"]
        assert await snapshot.count(Wanted(receiver="p2")) == {"prefixes": 0, "paths": 0}


async def test_no_policy_keeps_everything() -> None:
    """RFC 8212."""
    async with two(peer_settings(1), peer_settings(2, role=Role.EBGP)) as the_lab:
        assert path_of(the_lab, "p2")["why"] == "nothing is exported to p2: no policy says so (RFC 8212)"


async def test_internal_peers_do_not_hear_each_other() -> None:
    """RFC 4456, section 6."""
    async with two(internal(1, Role.IBGP), internal(2, Role.IBGP), path=()) as the_lab:
        assert "to clients only (RFC 4456" in path_of(the_lab, "p2")["why"]


async def test_only_to_customer_keeps_it() -> None:
    """RFC 9234, section 5."""
    more = decoder.attribute(0xC0, 35, (65001).to_bytes(4, "big"))
    peer = peer_settings(2, role=Role.EBGP, export_policy=Policy.ACCEPT, bgp_role=BgpRole.PEER)
    async with two(peer_settings(1), peer, more) as the_lab:
        assert path_of(the_lab, "p2")["why"] == "it is marked ONLY_TO_CUSTOMER (RFC 9234, section 5)"


async def test_without_an_address_of_ours_there_is_no_next_hop() -> None:
    """Said, and not listed as sent."""
    async with lab(peer_settings(1), peer_settings(2, role=Role.EBGP, export_policy=Policy.ACCEPT)) as the_lab:
        sender = await the_lab.join(1)
        await the_lab.join(2)
        block = decoder.attribute(0x40, 1, b"\0") + decoder.as_path(65001)
        await sender.say(decoder.announce([(V6, bytes.fromhex("2020010db8"))], block, b"\x20\1" + bytes(14)))
        await the_lab.settle()
        found = told(the_lab, "p2", "2001:db8::/32")
        assert "we have none of its family" in found["paths"][0]["why"]
        assert found["verdict"] == "p2 gets 0 of 1 paths"
        snapshot = Snapshot(the_lab.speaker)
        assert await snapshot.count(Wanted(receiver="p2")) == {"prefixes": 0, "paths": 0}
        assert await snapshot.count(Wanted(receiver="p2", withheld=True)) == {"prefixes": 1, "paths": 1}


@pytest.mark.parametrize(
    ("first", "second", "why"),
    [
        (b"", decoder.attribute(0x40, 5, b"\0\0\0\1"), None),
        (decoder.attribute(0x80, 4, b"\0\0\0\1"), decoder.attribute(0x80, 4, b"\0\0\0\2"), "higher MULTI_EXIT_DISC"),
    ],
)
async def test_what_loses_is_told_by_what(first: bytes, second: bytes, why: str | None) -> None:
    """RFC 4271, section 9.1: the first difference that counts; LOCAL_PREF of external peers does not."""
    async with lab(*map(peer_settings, (1, 2, 3))) as the_lab:
        for number, more in ((1, first), (2, second)):
            sender = await the_lab.join(number, families=(V4,))
            await sender.say(announcement(number, more, (65001, 65100)))
        await the_lab.join(3, families=(V4,))
        losing = path_of(the_lab, "p3", "p2")
        assert losing["verdict"] == "not sent"
        assert losing["why"] == f"{why or 'higher BGP Identifier'} than the path of p1"
        assert path_of(the_lab, "p2", "p1")["verdict"] == "unchanged"


async def test_our_own_route_is_written_here() -> None:
    """Nothing was received."""
    async with two(peer_settings(1), peer_settings(2)) as the_lab:
        family, key = parse_prefix("11.0.0.0/8", None)
        block = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, b"")
        the_lab.speaker.forwarder.announce(family, key, block + decoder.attribute(0x40, 3, b"\1\2\3\4"), None)
        path = told(the_lab, "p2", "11.0.0.0/8")["paths"][0]
        assert (path["verdict"], path["why"]) == ("written", "announced here")


async def test_what_was_not_negotiated_or_not_announced_is_said() -> None:
    """A family, a prefix."""
    async with two(peer_settings(1), peer_settings(2)) as the_lab:
        assert told(the_lab, "p2", "2001:db8::/32")["verdict"] == "p2 has not negotiated ipv6-unicast"
        assert told(the_lab, "p2", "12.0.0.0/8")["verdict"] == "nobody announces it"
