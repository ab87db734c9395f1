"""How many routes each peer is sent, and how many of its own are best: one walk over the tables, in slices.

Nothing is counted while messages pass. It is counted when somebody asks, and the answer serves for a while.
"""

from collections import Counter
from typing import Final

import attrs
import trio

from trio_bgp.rib.decision import best
from trio_bgp.rib.path import Path, Source
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.wire.numbers import Family, family_name

__all__ = ["Counting", "RouteCounts"]

SLICE: Final = 2000
"""Prefixes between two checkpoints: about a millisecond."""
SERVES_SECONDS: Final = 30.0
"""How old an answer may be. A large table takes a second to count."""

Claims = tuple[tuple[Source, int], ...]
"""Who has a path to a prefix, and the audience of it."""


@attrs.frozen
class RouteCounts:
    """One peer's routes."""

    exported: dict[str, int]
    """Paths it is sent, by address family."""
    preferred: dict[str, int]
    """Prefixes of which its path is the best of all, by address family."""


class Counting:
    """Counts the routes of all peers at once.

    Args:
        speaker: the daemon.
    """

    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker
        self._lock = trio.Lock()
        self._found: dict[str, RouteCounts] = {}
        self.counted_at = float("-inf")
        """On Trio's clock."""

    async def routes(self) -> dict[str, RouteCounts]:
        """The counts of each established peer, by name; at most `SERVES_SECONDS` old."""
        async with self._lock:
            if trio.current_time() - self.counted_at >= SERVES_SECONDS:
                self._found = await self._count()
                self.counted_at = trio.current_time()
        return self._found

    async def _count(self) -> dict[str, RouteCounts]:
        server = self._speaker.forwarder.core
        claims: dict[Family, Counter[Claims]] = {}
        preferred: dict[Family, Counter[Source]] = {}
        for family, table in list(server.tables.items()):
            by_claims: Counter[Claims] = Counter()
            firsts: Counter[Source] = Counter()
            get = table.routes.get
            for position, nlri in enumerate(list(table.routes)):
                if position % SLICE == SLICE - 1:
                    await trio.lowlevel.checkpoint()
                entry = get(nlri)
                if isinstance(entry, Path):
                    by_claims[((entry.source, entry.audience),)] += 1
                    firsts[entry.source] += 1
                elif entry is not None:
                    by_claims[tuple((path.source, path.audience) for path in entry)] += 1
                    first = best(entry)
                    if first is not None:
                        firsts[first.source] += 1
            claims[family], preferred[family] = by_claims, firsts
        found = {}
        for member in list(self._speaker.forwarder.members):
            await trio.lowlevel.checkpoint()
            group = server.egress.group_of.get(member)
            exported = {}
            for family, view in () if group is None else group.views.items():
                exported[family_name(family)] = sum(
                    count
                    * min(
                        view.limit,
                        sum(source is not member.source and audience & view.audience != 0 for source, audience in each),
                    )
                    for each, count in claims.get(family, Counter[Claims]()).items()
                )
            best_of = {family_name(family): firsts[member.source] for family, firsts in preferred.items()}
            found[member.name] = RouteCounts(exported, {name: count for name, count in best_of.items() if count})
        return found
