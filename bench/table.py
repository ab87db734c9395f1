"""The real table that is announced, cut so that every prefix comes once."""

import lzma
from pathlib import Path

from trio_bgp.wire.header import scan
from trio_bgp.wire.nlri import split_prefixes
from trio_bgp.wire.update import sections

__all__ = ["SHARED", "first_peer"]

SHARED = Path(__file__).resolve().parents[2] / "shared" / "replay"


def first_peer(name: str, folder: Path, without_as: int) -> tuple[Path, int, int]:
    """Write the UPDATEs of the table's first peer to a file.

    Those are the messages up to the first that repeats a prefix; messages whose AS_PATH contains `without_as`, which a
    daemon of that AS would refuse, are left out.

    Returns:
        the file, how many UPDATEs and how many prefixes it has.
    """
    octets = lzma.decompress((SHARED / f"{name}.bgp.xz").read_bytes())
    found = scan(octets, 0, len(octets), 65535)
    seen: set[bytes] = set()
    kept = bytearray()
    count = 0
    mark = without_as.to_bytes(4, "big")
    for start, end in zip(found.offsets, [*found.offsets[1:], found.end], strict=True):
        withdrawn_end, attributes_end = sections(octets, start, end)
        nlris = split_prefixes(octets[attributes_end:end], 32)
        if any(nlri in seen for nlri in nlris):
            if count > 1000:
                break
            continue
        if mark in octets[withdrawn_end:attributes_end]:
            continue
        seen.update(nlris)
        kept += octets[start:end]
        count += 1
    path = folder / f"{name}-first.bgp"
    path.write_bytes(kept)
    return path, count, len(seen)
