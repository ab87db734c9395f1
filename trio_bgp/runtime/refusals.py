"""Log lines about what peers sent that was refused, or cannot be sent on; so many for each peer and no more."""

import logging
from typing import Final

import trio

from trio_bgp.passthrough.repack import Withheld
from trio_bgp.routing.group import Group, Member
from trio_bgp.runtime.limits import RateLimit
from trio_bgp.wire.numbers import family_name

__all__ = ["LOGGED_OCTETS", "Refusals"]

logger = logging.getLogger("trio_bgp.forwarder")

LOGGED_OCTETS: Final = 128
LOGGED_RATE: Final = 2.0
"""Lines about one peer in a second, in the long run."""
LOGGED_BURST: Final = 20.0


class Refusals:
    """Writes them."""

    def __init__(self) -> None:
        self._limits: dict[str, RateLimit] = {}

    def forget_idle(self, now: float) -> None:
        """Forget who may write as many lines as ever; not others, so that coming and going does not fill the log."""
        self._limits = {name: limit for name, limit in self._limits.items() if not limit.idle(now)}

    def _may_log(self, name: str) -> bool:
        """Whether a line about what this peer sent may be written now."""
        limit = self._limits.setdefault(name, RateLimit(LOGGED_RATE, LOGGED_BURST))
        if not limit.allow(trio.current_time()):
            return False
        if refused := limit.take_refused():
            logger.warning("update.refused name=%s cause='%d more were not logged'", name, refused)
        return True

    def report(self, member: Member, cause: str, octets: bytes) -> None:
        """An UPDATE, or a part of it, was repaired or refused."""
        if not self._may_log(member.name):
            return
        shown = octets[:LOGGED_OCTETS].hex() + ("..." if len(octets) > LOGGED_OCTETS else "")
        logger.warning("update.refused name=%s cause=%r octets=%s", member.name, cause, shown)

    def withheld(self, group: Group, withheld: Withheld) -> None:
        """An announcement cannot be written for a group."""
        part = withheld.part
        if part.path is not None and not self._may_log(part.path.source.name):
            return
        logger.warning(
            "update.withheld cause=%s family=%s prefixes=%d source=%s maximum=%d: withdrawn from %d peers",
            withheld.reason,
            family_name(part.family),
            len(part.nlris),
            part.path.source.name if part.path is not None else "-",
            group.maximum,
            len(group.members),
        )
