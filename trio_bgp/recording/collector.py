"""Accepting sessions of anybody, and counting what is said on them."""

from collections.abc import Callable, Sequence
from ipaddress import IPv4Address, ip_network
from typing import Any, Final

import attrs

from trio_bgp.mrt.records import MrtError
from trio_bgp.mrt.updates import take_apart
from trio_bgp.runtime.board import Monitor, MonitoredConnection
from trio_bgp.session.fsm import State
from trio_bgp.session.negotiation import Negotiated
from trio_bgp.settings import AddPathSettings, Endpoint, PeerSettings, Policy, Role, Settings, SpeakerSettings
from trio_bgp.wire.nlri import split_nlri, split_nlri_add_path
from trio_bgp.wire.notification import NotificationError
from trio_bgp.wire.numbers import Family, MessageType, family_name
from trio_bgp.wire.update import is_end_of_rib

__all__ = ["Collector", "Tally", "collector_settings"]

MOST_PEERS: Final = 65535

Tell = Callable[[dict[str, Any]], object]
"""Told of what happens: `event` is `up`, `end-of-rib` or `down`; the rest is what there is to say of it."""


def collector_settings(
    listen: Sequence[Endpoint],
    *,
    local_as: int,
    bgp_identifier: int,
    peer_as: int,
    families: Sequence[Family],
    hold_time: int,
    add_path: bool,
) -> Settings:
    """Settings of a speaker that accepts a session from every address, takes no route and sends none.

    Args:
        listen: where.
        local_as: who we are.
        bgp_identifier: likewise.
        peer_as: who others have to be; 0: anybody.
        families: to offer.
        hold_time: to offer, in seconds.
        add_path: let others send several paths to a prefix (RFC 7911).
    """
    versions = sorted({endpoint.address.version for endpoint in listen})
    peers = [
        PeerSettings(
            name=f"ipv{version}",
            range=ip_network("0.0.0.0/0" if version == 4 else "::/0"),
            peer_as=peer_as,
            role=Role.EBGP,
            families=tuple(families),
            passive=True,
            hold_time=hold_time,
            max_peers=MOST_PEERS,
            enforce_first_as=False,
            import_policy=Policy.NONE,
            export_policy=Policy.NONE,
            add_path=AddPathSettings(receive=add_path),
            extended_next_hop=True,
            graceful_restart=False,
        )
        for version in versions
    ]
    speaker = SpeakerSettings(local_as=local_as, bgp_identifier=bgp_identifier, listen=tuple(listen))
    return Settings(speaker=speaker, peers=tuple(peers))


@attrs.define
class Tally:
    """What was said on one session.

    Attributes:
        address: of the other side.
        asn: its AS number.
        messages: of any type.
        octets: of these.
        updates: of these messages.
        announced: prefixes announced, each time they were.
        withdrawn: prefixes withdrawn.
        malformed: UPDATEs that could not be counted.
        held: what is announced and not withdrawn, by family; with ADD-PATH each path.
    """

    address: str
    asn: int
    negotiated: Negotiated
    messages: int = 0
    octets: int = 0
    updates: int = 0
    announced: int = 0
    withdrawn: int = 0
    malformed: int = 0
    held: dict[Family, set[bytes]] = attrs.Factory(dict)

    def count(self, update: bytes) -> None:
        """Count an UPDATE's prefixes."""
        try:
            parts = take_apart(update)
            gone = {family: self._nlris(family, octets) for family, octets in parts.withdrawn.items()}
            come = [(reach.family, self._nlris(reach.family, reach.nlri)) for reach in parts.announced]
        except (MrtError, NotificationError):
            self.malformed += 1
            return
        for family, nlris in gone.items():
            self.withdrawn += len(nlris)
            self.held.setdefault(family, set()).difference_update(nlris)
        for family, nlris in come:
            self.announced += len(nlris)
            self.held.setdefault(family, set()).update(nlris)

    def _nlris(self, family: Family, octets: bytes) -> list[bytes]:
        if family in self.negotiated.add_path_receive:
            return [path_id.to_bytes(4, "big") + nlri for path_id, nlri in split_nlri_add_path(family, octets)]
        return split_nlri(family, octets, add_path=False)

    def told(self) -> dict[str, Any]:
        """The numbers by their names."""
        names = ("messages", "octets", "updates", "announced", "withdrawn", "malformed")
        return {name: getattr(self, name) for name in names} | {
            "prefixes": {family_name(family): len(nlris) for family, nlris in self.held.items() if nlris}
        }


class Collector(Monitor):
    """Counts what is said on each session of a speaker; put it into `Board.monitors`.

    Args:
        tell: called when a session comes up, when a table is complete, and when a session ends.

    Attributes:
        sessions: how many there were.
        ended: how many of these have ended.
        total: what was said on all of them.
    """

    def __init__(self, tell: Tell) -> None:
        self.sessions = 0
        self.ended = 0
        self.total: dict[str, int] = dict.fromkeys(
            ("messages", "octets", "updates", "announced", "withdrawn", "malformed"), 0
        )
        self._tell = tell
        self._tallies: dict[MonitoredConnection, Tally] = {}

    @property
    def up(self) -> int:
        """Sessions that are established."""
        return len(self._tallies)

    def changed(self, connection: MonitoredConnection, old: State, new: State) -> None:
        """See `Monitor`."""
        negotiated = connection.session.negotiated
        if new is State.ESTABLISHED and negotiated is not None:
            self.sessions += 1
            tally = Tally(str(connection.peer.address), negotiated.peer_as, negotiated)
            self._tallies[connection] = tally
            self._event(
                "up",
                tally,
                {
                    "identifier": str(IPv4Address(negotiated.bgp_identifier)),
                    "hold_time": negotiated.hold_time,
                    "families": [family_name(family) for family in sorted(negotiated.families)],
                },
            )
        elif old is State.ESTABLISHED:
            tally = self._tallies.pop(connection)
            self.ended += 1
            told = tally.told()
            for name in self.total:
                self.total[name] += told[name]
            reason = "cancelled" if connection.closed is None else connection.closed.reason
            self._event("down", tally, {**told, "reason": reason})

    def received(self, connection: MonitoredConnection, messages: Sequence[bytes]) -> None:
        """See `Monitor`."""
        tally = self._tallies.get(connection)
        if tally is None:
            return
        tally.messages += len(messages)
        for octets in messages:
            tally.octets += len(octets)
            if octets[18] == MessageType.UPDATE:
                tally.updates += 1
                family = is_end_of_rib(octets)
                if family is None:
                    tally.count(octets)
                else:
                    held = len(tally.held.get(family, ()))
                    self._event("end-of-rib", tally, {"family": family_name(family), "prefixes": held})

    def _event(self, event: str, tally: Tally, more: dict[str, Any]) -> None:
        self._tell({"event": event, "address": tally.address, "as": tally.asn, **more})
