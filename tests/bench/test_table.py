"""Made tables are what they say, so that what receivers are to hold is known without asking a daemon."""

import struct
from pathlib import Path

import pytest

from bench.daemons import FIRST_AS
from bench.table import Table, first_of_each, made, path_of, rebuilt
from tests.harness import decoder

PREFIXES = 400
SENDERS = 3


def routes(path: Path) -> dict[bytes, bytes]:
    """Prefixes of a file of UPDATEs with their attribute blocks, by the tests' own decoder."""
    octets = path.read_bytes()
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(octets):
        size = int.from_bytes(octets[at + 16 : at + 18], "big")
        block = octets[at + 23 : at + 23 + int.from_bytes(octets[at + 21 : at + 23], "big")]
        for prefix, _ in decoder.prefixes(octets[at + 23 + len(block) : at + size]):
            assert prefix not in found
            found[prefix] = block
        at += size
    return found


def path_length(block: bytes) -> int:
    """AS numbers in the AS_PATH of a block that has it second, behind ORIGIN."""
    assert block[4:6] == b"\x40\x02"
    assert block[7] == 2
    return block[8]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """A small one of three senders."""
    return made(PREFIXES, SENDERS, tmp_path_factory.mktemp("table"))


def test_each_sender_announces_all_prefixes(table: Table) -> None:
    """The same ones, and none that a daemon would refuse."""
    first, second, third = (routes(path) for path in table.senders)
    assert len(first) == PREFIXES == table.prefixes
    assert set(first) == set(second) == set(third)
    assert not any(prefix[1] == 127 for prefix in first)


def test_the_best_is_the_one_with_the_shortest_path(table: Table) -> None:
    """There is only one of that length, so that nothing else decides."""
    senders, best = [routes(path) for path in table.senders], routes(table.best)
    for prefix, block in best.items():
        lengths = sorted(path_length(each[prefix]) for each in senders)
        assert lengths[0] == path_length(block) == lengths[1] - 1 == lengths[2] - 2
        assert block in [each[prefix] for each in senders]


def test_each_sender_has_a_share_of_the_best(table: Table) -> None:
    """About a third of the blocks each."""
    best = set(routes(table.best).values())
    own = [len(best & set(routes(path).values())) for path in table.senders]
    assert sum(own) == len(best)
    assert max(own) - min(own) <= 1 + len(best) // 10


def test_what_senders_are_to_hold(table: Table) -> None:
    """The best of the others' paths; with hiding, nothing where the best is their own."""
    senders, best = [routes(path) for path in table.senders], routes(table.best)
    for number, own in enumerate(senders):
        others = [each for each in senders if each is not own]
        runner_up = {prefix: min((each[prefix] for each in others), key=path_length) for prefix in best}
        assert routes(table.runner_up[number]) == runner_up
        assert routes(table.hidden[number]) == {p: block for p, block in best.items() if own[p] != block}


def test_one_sender_is_to_hold_nothing(tmp_path: Path) -> None:
    """There is nobody else from whom it could get something."""
    alone = made(50, 1, tmp_path)
    assert routes(alone.best) == routes(alone.senders[0])
    assert routes(alone.runner_up[0]) == routes(alone.hidden[0]) == {}


def test_the_same_seed_makes_the_same_octets(table: Table, tmp_path: Path) -> None:
    """Figures of two machines are of the same table."""
    again = made(PREFIXES, SENDERS, tmp_path)
    assert [path.read_bytes() for path in again.senders] == [path.read_bytes() for path in table.senders]


def test_prefixes_a_message(tmp_path: Path) -> None:
    """As many as asked for."""
    assert made(300, 1, tmp_path, per_message=1).messages == 300
    assert made(300, 1, tmp_path, per_message=100).messages == 3


def test_an_attribute_that_grows_gets_an_extended_length() -> None:
    """And loses it when it shrinks."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0xC0, 8, b"abcd")
    long = rebuilt(block, {8: lambda value: value * 75})
    assert long == decoder.attribute(0x40, 1, b"\0") + b"\xd0\x08\x01\x2c" + b"abcd" * 75
    assert rebuilt(long, {8: lambda value: value[:4]}) == block


def test_a_recorded_table_is_cut_and_widened() -> None:
    """A prefix that came before is left out with its message; 2-octet AS numbers get four."""
    block = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, struct.pack(">BBHH", 2, 2, 7, 9))
    block += decoder.attribute(0xC0, 7, struct.pack(">HI", 9, 1))

    def update(attributes: bytes, *prefixes: bytes) -> bytes:
        body = bytes(2) + len(attributes).to_bytes(2, "big") + attributes + b"".join(prefixes)
        return decoder.message(decoder.UPDATE, body)

    one, other = bytes((8, 10)), bytes((8, 11))
    wide = decoder.attribute(0x40, 1, b"\0") + decoder.attribute(0x40, 2, path_of((7, 9)))
    wide += decoder.attribute(0xC0, 7, struct.pack(">II", 9, 1))
    octets = update(block, one) + update(block, one, other) + update(block, other)
    assert list(first_of_each(octets, widen=True)) == [update(wide, one), update(wide, other)]


def test_senders_have_numbers_of_their_own(table: Table) -> None:
    """First in each of their paths."""
    for number, path in enumerate(table.senders):
        assert {block[9:13] for block in routes(path).values()} == {(FIRST_AS + number).to_bytes(4, "big")}
