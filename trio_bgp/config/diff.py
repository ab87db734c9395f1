"""What a new configuration would change in a running daemon."""

from collections.abc import Iterator
from typing import Final

import attrs

from trio_bgp.settings import BmpSettings, PeerChange, PeerSettings, Settings

__all__ = ["WITHOUT_RESET", "WITH_RESET", "Diff", "compare"]

WITHOUT_RESET: Final = frozenset(
    {
        "connect_retry_time",
        "enforce_first_as",
        "local_address",
        "max_peers",
        "max_prefixes",
        "max_prefixes_action",
        "max_prefixes_restart_time",
        "next_hop_check",
        "passive",
        "port",
        "queue_limit",
        "reject_as_set",
        "reject_martians",
    }
)
"""Settings of a peer that take effect while its session goes on; checks of routes: on those that come from then on."""
WITH_RESET: Final = frozenset(
    {
        # Who the peer is, or how it is connected.
        *("address", "range", "md5_password", "tcp_ao", "ttl_security"),
        # What the OPEN says, or is held against.
        *("peer_as", "families", "hold_time", "extended_message", "add_path", "extended_next_hop", "graceful_restart"),
        *("long_lived_stale_time", "bgp_role", "bgp_role_strict"),
        # What the routes it has sent or got depend on: it has to send and get them again.
        *("role", "next_hop", "next_hop_subnet", "next_hop_ipv4", "next_hop_ipv6", "import_policy", "export_policy"),
    }
)
"""Settings of a peer for which its session has to begin again."""


@attrs.frozen
class Diff:
    """What differs."""

    peers: tuple[PeerChange, ...]
    needs_restart: tuple[str, ...]
    """Settings of the daemon itself that differ: they cannot be changed while it runs."""
    stations: tuple[str, ...] = ()
    """What changes of BMP stations, in words."""
    log: tuple[str, ...] = ()
    """Settings of the log that differ."""

    def lines(self) -> list[str]:
        """In words, a line each; none if nothing differs."""
        found = []
        for change in self.peers:
            what = f"{change.kind} {change.name}"
            if change.keys:
                what += f": {', '.join(change.keys)}"
            if change.kind == "changed":
                what += " (its session is reset)" if change.reset else " (its session goes on)"
            found.append(what)
        found += self.stations
        found += [f"changed {name}" for name in self.log]
        return found + [f"{name} differs: needs a restart" for name in self.needs_restart]


def compare(old: Settings, new: Settings) -> Diff:
    """What changes from one configuration to another; peers are the same if their names are."""
    before = {peer.name: peer for peer in old.peers}
    after = {peer.name: peer for peer in new.peers}
    changes = [PeerChange("removed", name, peer) for name, peer in before.items() if name not in after]
    for name, peer in after.items():
        if name not in before:
            changes.append(PeerChange("added", name, peer))
        elif keys := _differing(before[name], peer):
            changes.append(PeerChange("changed", name, peer, keys, reset=not WITH_RESET.isdisjoint(keys)))
    daemon = [f"speaker.{name}" for name in _differing(old.speaker, new.speaker) if name != "restarting"]
    daemon += [f"control.{name}" for name in _differing(old.control, new.control)]
    daemon += [f"record.{name}" for name in _differing(old.record, new.record)]
    # The kernel is told TCP-AO keys when it begins to listen; it takes further ones, but no others for the same peer.
    daemon += [f"peers.{each.name}.tcp_ao" for each in changes if _rekeyed(before.get(each.name), each)]
    log = tuple(f"log.{name}" for name in _differing(old.log, new.log))
    return Diff(tuple(changes), tuple(daemon), tuple(_stations(old.bmp, new.bmp)), log)


def _rekeyed(before: PeerSettings | None, change: PeerChange) -> bool:
    return change.kind == "changed" and "tcp_ao" in change.keys and before is not None and before.tcp_ao is not None


def _stations(old: BmpSettings, new: BmpSettings) -> Iterator[str]:
    """What changes of BMP stations; they are the same if their addresses are."""
    before = {station.address: station for station in old.stations}
    after = {station.address: station for station in new.stations}
    yield from (f"removed BMP station {address}" for address in before if address not in after)
    for address, station in after.items():
        if address not in before:
            yield f"added BMP station {address}"
        elif keys := _differing(before[address], station):
            what = "its connection goes on" if keys == ("peers",) else "its connection begins anew"
            yield f"changed BMP station {address}: {', '.join(keys)} ({what})"


def _differing(old: attrs.AttrsInstance, new: attrs.AttrsInstance) -> tuple[str, ...]:
    return tuple(
        field.name for field in attrs.fields(type(old)) if getattr(old, field.name) != getattr(new, field.name)
    )
