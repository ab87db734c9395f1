"""The daemons under test, each configured as a transparent route server."""

from bench.daemons.base import ADDRESS, AS, FIRST_AS, Daemon, Peer, listens
from bench.daemons.bird import Bird
from bench.daemons.frr import Frr
from bench.daemons.gobgp import GoBgp
from bench.daemons.openbgpd import OpenBgpd
from bench.daemons.ours import CompiledTrioBgp, Copier, TrioBgp

__all__ = ["ADDRESS", "AS", "DAEMONS", "FIRST_AS", "Bird", "CompiledTrioBgp", "Daemon", "Peer", "TrioBgp", "listens"]

DAEMONS: dict[str, type[Daemon]] = {
    kind.name: kind for kind in (TrioBgp, CompiledTrioBgp, Bird, Frr, GoBgp, OpenBgpd, Copier)
}
"""By name, in the order in which they are run and shown."""
