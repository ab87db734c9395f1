"""The tables that are announced, as files of UPDATEs: made from a seed, or real ones.

A made table is like the one of `trio-bgp demo`: how many prefixes share an attribute block, how long paths are and what
else routes carry is counted from public tables (`trio_bgp.cli.sample_table`). With several senders, all announce the
same prefixes in the same blocks, but in an order and with AS paths of their own. Their lengths differ, so that each
daemon must find the same best path, and each sender has the best, the second best and so on for an equal share of the
blocks.
"""

import lzma
import random
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

from bench.build import ROOT
from bench.daemons import AS, FIRST_AS
from trio_bgp.cli.sample_table import MODERN, SampleRoute, make_prefixes, make_routes, messages
from trio_bgp.wire.header import scan
from trio_bgp.wire.nlri import split_prefixes
from trio_bgp.wire.numbers import IPV4_UNICAST
from trio_bgp.wire.update import sections

__all__ = ["REAL", "SHARED", "Table", "made", "path_of", "real", "with_path"]

SHARED = ROOT.parent / "shared" / "replay"
REAL = ("rrc06-2010-full-table", "rrc00-2000-table", "rv-2014-rib4-part")
OLD = frozenset({"rrc00-2000-table"})
"""Their AS numbers have two octets."""
FORMAT = "4"
"""Part of the names of kept files; to be changed with what is in them."""
AS_PATH, NEXT_HOP, AGGREGATOR = 2, 3, 7


@attrs.frozen
class Table:
    """Files of UPDATEs, and how much is in them.

    Args:
        senders: what each sender announces.
        best: what a receiver is to hold.
        runner_up: what each sender is to hold if it gets the second best where it has the best itself.
        hidden: likewise if it gets nothing there.
        messages: UPDATEs of all senders together.
        prefixes: different ones.
        octets: of all senders' UPDATEs.
    """

    senders: tuple[Path, ...]
    best: Path
    runner_up: tuple[Path, ...]
    hidden: tuple[Path, ...]
    messages: int
    prefixes: int
    octets: int


def attributes(block: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Flags, type and value of each attribute of a block."""
    at = 0
    while at < len(block):
        header = 4 if block[at] & 0x10 else 3
        size = int.from_bytes(block[at + 2 : at + header], "big")
        yield block[at], block[at + 1], block[at + header : at + header + size]
        at += header + size


def rebuilt(block: bytes, changes: dict[int, Callable[[bytes], bytes]]) -> bytes:
    """A block with the values of some attributes, by type, changed."""
    found = bytearray()
    for flags, kind, value in attributes(block):
        new = changes[kind](value) if kind in changes else value
        size = len(new).to_bytes(2 if len(new) > 255 else 1, "big")
        found += bytes((flags | 0x10 if len(new) > 255 else flags & ~0x10, kind)) + size + new
    return bytes(found)


def path_of(numbers: Iterable[int]) -> bytes:
    """An AS_PATH value of one AS_SEQUENCE with 4-octet numbers."""
    packed = b"".join(number.to_bytes(4, "big") for number in numbers)
    return bytes((2, len(packed) // 4)) + packed


def with_path(route: SampleRoute, sender: int, extra: int) -> SampleRoute:
    """The route as another sender has it: its AS first, `extra` times more, and its next hop."""
    path = (*[FIRST_AS + sender] * (1 + extra), *route.as_path[1:])
    hop = bytes((192, 0, 2, 1 + sender))
    block = rebuilt(route.attributes, {AS_PATH: lambda _: path_of(path), NEXT_HOP: lambda _: hop})
    return attrs.evolve(route, attributes=block, next_hop=hop, as_path=path)


def made(prefixes: int, senders: int, folder: Path, *, per_message: int = 0, seed: int = 1) -> Table:
    """A made table; kept in `folder`.

    Args:
        prefixes: how many.
        senders: how many announce them.
        folder: where the files are.
        per_message: exactly so many prefixes share attributes; 0 for as many as in public tables.
        seed: decides all the rest.
    """
    rng = random.Random(seed)
    stem = folder / f"made-{FORMAT}-{prefixes}-{senders}-{per_message}-{seed}"
    table = _named(stem, senders)
    if not table.best.exists():
        profile = MODERN
        if per_message:
            profile = attrs.evolve(MODERN, prefixes_per_set=((0.0, per_message - 1), (1.0, per_message)))
        # Some daemons refuse what is inside 127.0.0.0/8, less than one in two hundred.
        drawn = make_prefixes(rng, IPV4_UNICAST, prefixes + prefixes // 100 + 100)
        nlris = [nlri for nlri in drawn if nlri[1] != 127][:prefixes]
        routes = list(
            make_routes(rng, IPV4_UNICAST, nlris, asn=FIRST_AS, next_hop=bytes((192, 0, 2, 1)), profile=profile)
        )
        variants = [
            [with_path(route, sender, (index + sender) % senders) for index, route in enumerate(routes)]
            for sender in range(senders)
        ]
        ranks = [[-index % senders, (1 - index) % senders] for index in range(len(routes))]
        for sender in range(senders):
            others = [
                variants[(first if first != sender else second)][index] for index, (first, second) in enumerate(ranks)
            ]
            _write(table.runner_up[sender], others if senders > 1 else [])
            kept = [variants[first][index] for index, (first, _) in enumerate(ranks) if first != sender]
            _write(table.hidden[sender], kept)
            order = list(variants[sender])
            if sender:
                rng.shuffle(order)
            _write(table.senders[sender], order)
        _write(table.best, [variants[first][index] for index, (first, _) in enumerate(ranks)])
    return _counted(table)


def _named(stem: Path, senders: int) -> Table:
    """Where the files are; nothing is counted yet."""
    return Table(
        tuple(Path(f"{stem}-sender{number}.bgp") for number in range(senders)),
        Path(f"{stem}-best.bgp"),
        tuple(Path(f"{stem}-runner-up{number}.bgp") for number in range(senders)),
        tuple(Path(f"{stem}-hidden{number}.bgp") for number in range(senders)),
        *(0, 0, 0),
    )


def _write(path: Path, routes: Iterable[SampleRoute]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_bytes(b"".join(message for route in routes for message in messages(route)))
    temporary.replace(path)


def _counted(table: Table) -> Table:
    """With its counts, read from the files."""
    count = octets = 0
    for path in table.senders:
        data = path.read_bytes()
        count += len(scan(data, 0, len(data), 65535).offsets)
        octets += len(data)
    data = table.best.read_bytes()
    found = scan(data, 0, len(data), 65535)
    prefixes = 0
    for start, end in zip(found.offsets, [*found.offsets[1:], found.end], strict=True):
        prefixes += len(split_prefixes(data[sections(data, start, end)[1] : end], 32))
    return attrs.evolve(table, messages=count, prefixes=prefixes, octets=octets)


def real(name: str, folder: Path) -> Table:
    """A real table, each prefix as it came first; kept in `folder`.

    Left out is what a daemon would refuse or rewrite: paths through its own AS, paths of more segments than one (FRR
    sorts an AS_SET), an AGGREGATOR of AS 0 (RFC 7607), prefixes of 0.0.0.0/8, 127.0.0.0/8 and from 224.0.0.0 on, and a
    prefix that is its own next hop.
    """
    table = _named(folder / f"real-{FORMAT}-{name}", 1)
    if not table.best.exists():
        folder.mkdir(parents=True, exist_ok=True)
        octets = lzma.decompress((SHARED / f"{name}.bgp.xz").read_bytes())
        kept = b"".join(first_of_each(octets, widen=name in OLD))
        for path in (table.runner_up[0], table.hidden[0]):
            path.write_bytes(b"")
        table.senders[0].write_bytes(kept)
        table.best.write_bytes(kept)
    return _counted(table)


def first_of_each(octets: bytes, *, widen: bool) -> Iterator[bytes]:
    """The UPDATEs none of whose prefixes came before, with 4-octet AS numbers if they are to be widened."""
    seen: set[bytes] = set()
    found = scan(octets, 0, len(octets), 65535)
    for start, end in zip(found.offsets, [*found.offsets[1:], found.end], strict=True):
        withdrawn_end, attributes_end = sections(octets, start, end)
        nlris = split_prefixes(octets[attributes_end:end], 32)
        block = octets[withdrawn_end + 2 : attributes_end]
        if widen:
            block = rebuilt(block, {AS_PATH: _wide_path, AGGREGATOR: lambda value: bytes(2) + value})
        if not nlris or AS.to_bytes(4, "big") in block or _is_odd(nlris, block):
            continue
        if seen.intersection(nlris) or len(set(nlris)) < len(nlris):
            continue
        seen.update(nlris)
        body = bytes(2) + len(block).to_bytes(2, "big") + block + octets[attributes_end:end]
        if 19 + len(body) <= 4096:
            yield bytes([255] * 16) + (19 + len(body)).to_bytes(2, "big") + b"\2" + body


def _is_odd(nlris: Iterable[bytes], block: bytes) -> bool:
    """Whether some daemon would not pass these on as they are."""
    values = {kind: value for _, kind, value in attributes(block)}
    path = values.get(AS_PATH, b"")
    if not any(values.get(AGGREGATOR, b"\1")[:4]) or len(path) < 2 or path[0] != 2 or len(path) != 2 + 4 * path[1]:
        return True
    own = b"\x20" + values.get(NEXT_HOP, b"")
    return any(not nlri[0] or nlri[1] in (0, 127) or nlri[1] >= 224 or nlri == own for nlri in nlris)


def _wide_path(value: bytes) -> bytes:
    found = bytearray()
    at = 0
    while at < len(value):
        count = value[at + 1]
        found += value[at : at + 2]
        for number in range(count):
            found += bytes(2) + value[at + 2 + 2 * number : at + 4 + 2 * number]
        at += 2 + 2 * count
    return bytes(found)
