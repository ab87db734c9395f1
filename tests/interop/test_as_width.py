"""Old speakers with two octets for AS numbers among new ones (RFC 6793)."""

import re
import socket
import struct
from pathlib import Path
from typing import Self

import pytest

from tests.harness import decoder
from tests.interop.daemons import RS_AS, Bird, Frr, TrioBgp, peer, wait_for
from tests.interop.raw import RawSpeaker

pytestmark = pytest.mark.interop

AS_TRANS = 23456
BIG = 4200000001
OLD = "enable as4 off;"
AS_PATH, AGGREGATOR, AS4_PATH, AS4_AGGREGATOR = 2, 7, 17, 18


def v4(number: int) -> str:
    """The prefix of a daemon."""
    return f"203.0.{number}.0/24"


def nlri(number: int) -> bytes:
    """The same as octets."""
    return bytes((24, 203, 0, number))


def sequence(*numbers: int, width: int = 2) -> bytes:
    """A segment of an AS_PATH or AS4_PATH."""
    return struct.pack(">BB", 2, len(numbers)) + b"".join(number.to_bytes(width, "big") for number in numbers)


class OldSpeaker(RawSpeaker):
    """A speaker of octets without the capability for four-octet AS numbers."""

    def __init__(self, number: int, port: int) -> None:
        address = f"127.0.{number}.1"
        super().__init__(address, RS_AS + number, port)
        identifier = int.from_bytes(socket.inet_aton(address), "big")
        self._open = decoder.open_message(RS_AS + number, identifier, hold_time=0, asn4=False)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    def announce(self, number: int, as_path: bytes, *more: bytes) -> None:
        """Announce the prefix of this number."""
        attributes = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, AS_PATH, as_path)
        attributes += decoder.attribute(0x40, 3, bytes((192, 0, 2, 9))) + b"".join(more)
        self.say(decoder.update(b"", attributes, nlri(number)))

    def attributes(self, number: int) -> dict[int, bytes]:
        """The attributes of the prefix of this number, waited for."""
        held = wait_for(self.held, lambda held: nlri(number) in held)
        return {kind: value for _, kind, value in decoder.attributes_of(held[nlri(number)])}


def path_of(bird: Bird, number: int) -> dict[str, str]:
    """The only path a BIRD has to the prefix of this number, waited for."""
    [path] = wait_for(lambda: bird.paths(v4(number)), bool)
    return path


@pytest.mark.parametrize("role", ["rs-client", "ebgp"])
def test_birds(role: str, tmp_path: Path) -> None:
    """An old BIRD and new ones, one in AS 4200000001, hold each other's routes with the same AS paths."""
    port = 18650
    # FRR takes no loopback address for a next hop.
    hop = 'next_hop_ipv4 = "192.0.2.65"' if role == "ebgp" else ""
    peers = [peer(1, role, hop, asn=BIG), *(peer(n, role, hop) for n in (2, 3, 4))]
    ours = f"{RS_AS} " if role == "ebgp" else ""
    with (
        TrioBgp(tmp_path, port, peers) as server,
        Bird(1, tmp_path, port, asn=BIG) as big,
        Bird(2, tmp_path, port, options=OLD) as old,
        Frr(3, tmp_path, port) as frr,
        OldSpeaker(4, port) as raw,
    ):
        for daemon in (big, old, frr):
            daemon.announce(v4(daemon.number))
        assert path_of(old, 1)["as_path"] == f"{ours}{BIG}"
        assert path_of(old, 3)["as_path"] == f"{ours}{frr.asn}"
        assert path_of(big, 2)["as_path"] == f"{ours}{old.asn}"
        assert path_of(big, 3)["as_path"] == f"{ours}{frr.asn}"
        for number, asn in ((1, BIG), (2, old.asn)):
            [path] = wait_for(lambda n=number: frr.paths(v4(n)), bool)  # type: ignore[misc]
            assert path["aspath"]["string"] == f"{ours}{asn}"
        # What an old speaker is sent, to the octet.
        front = (RS_AS,) if role == "ebgp" else ()
        found = raw.attributes(1)
        assert found[AS_PATH] == sequence(*front, AS_TRANS)
        assert found[AS4_PATH] == sequence(*front, BIG, width=4)
        for number, asn in ((2, old.asn), (3, frr.asn)):
            found = raw.attributes(number)
            assert found[AS_PATH] == sequence(*front, asn)
            assert AS4_PATH not in found
        log = server.log()
        assert dict(re.findall(r"peer\.established name=(\w+) .* as4=(\w+)", log)) == {
            "p1": "yes",
            "p2": "no",
            "p3": "yes",
            "p4": "no",
        }
        big.withdraw(v4(1))
        wait_for(lambda: set(old.routes(4)), lambda held: held == {v4(3)})
        wait_for(lambda: set(raw.held()), lambda held: held == {nlri(2), nlri(3)})


def test_merging(tmp_path: Path) -> None:
    """What an old speaker says in AS_PATH and AS4_PATH a new BIRD holds merged; another old speaker gets both again."""
    port = 18660
    with (
        TrioBgp(tmp_path, port, [peer(n, "rs-client") for n in (1, 2, 8, 9)]),
        Bird(1, tmp_path, port) as new,
        Bird(2, tmp_path, port, options=OLD) as old,
        OldSpeaker(8, port) as receiver,
        OldSpeaker(9, port) as sender,
    ):
        wait_for(new.established, bool)
        wait_for(old.established, bool)
        own = RS_AS + 9
        four = decoder.attribute(0xC0, AS4_PATH, sequence(BIG, BIG + 1, width=4))
        aggregator = decoder.attribute(0xC0, AGGREGATOR, struct.pack(">H4s", AS_TRANS, bytes((192, 0, 2, 9))))
        aggregator4 = decoder.attribute(0xC0, AS4_AGGREGATOR, struct.pack(">I4s", BIG, bytes((192, 0, 2, 9))))
        # AS4_PATH as long as what an old speaker had behind it; the AS_PATH's front is kept.
        sender.announce(11, sequence(own, 64500, AS_TRANS, AS_TRANS), four, aggregator, aggregator4)
        # AS4_PATH longer than AS_PATH: ignored (RFC 6793, section 4.2.3).
        sender.announce(12, sequence(own), four)
        # An AGGREGATOR that is not AS_TRANS: AS4_AGGREGATOR and AS4_PATH are ignored.
        plain = decoder.attribute(0xC0, AGGREGATOR, struct.pack(">H4s", 64501, bytes((192, 0, 2, 9))))
        sender.announce(13, sequence(own, AS_TRANS, AS_TRANS), four, plain, aggregator4)
        # No AS4_PATH: AS_TRANS stays.
        sender.announce(14, sequence(own, AS_TRANS, 64502))
        expected = {
            11: f"{own} 64500 {BIG} {BIG + 1}",
            12: f"{own}",
            13: f"{own} {AS_TRANS} {AS_TRANS}",
            14: f"{own} {AS_TRANS} 64502",
        }
        for bird in (new, old):
            for number, as_path in expected.items():
                assert path_of(bird, number)["as_path"] == as_path
        assert path_of(new, 11)["aggregator"] == f"192.0.2.9 AS{BIG}"
        assert path_of(new, 13)["aggregator"] == "192.0.2.9 AS64501"
        found = receiver.attributes(11)
        assert found[AS_PATH] == sequence(own, 64500, AS_TRANS, AS_TRANS)
        assert found[AS4_PATH].endswith(sequence(BIG, BIG + 1, width=4)[2:])
        assert found[AGGREGATOR] == struct.pack(">H4s", AS_TRANS, bytes((192, 0, 2, 9)))
        assert found[AS4_AGGREGATOR] == struct.pack(">I4s", BIG, bytes((192, 0, 2, 9)))
        sender.cut()
        wait_for(lambda: new.routes(4), lambda held: held == {})
        wait_for(receiver.held, lambda held: held == {})
