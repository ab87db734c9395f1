"""The looking-glass interface of birdwatcher, so that Alice-LG and the like read this daemon unmodified.

https://github.com/alice-lg/birdwatcher: each answer has an `api` envelope; a peer is a protocol of its name.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from trio_bgp import __version__
from trio_bgp.control.routes import parse_prefix
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.session.fsm import State
from trio_bgp.wire.numbers import AttributeType

__all__ = ["Birdwatcher"]

STATES: Final = {State.ESTABLISHED.value: "up", State.IDLE.value: "down"}
TIME: Final = "%Y-%m-%d %H:%M:%S"


class Birdwatcher:
    """Answers in birdwatcher's words.

    Args:
        snapshot: what to ask.
        now: the time of day, which answers tell.
    """

    def __init__(self, snapshot: Snapshot, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._snapshot = snapshot
        self._now = now

    def envelope(self, **answer: Any) -> dict[str, Any]:
        """An answer with what birdwatcher puts around it."""
        now = self._now()
        return {
            "api": {
                "Version": f"trio-bgp {__version__}",
                "result_from_cache": False,
                "cache_status": {"cached_at": {"date": now.isoformat(), "timezone_type": "UTC", "timezone": "UTC"}},
            },
            "cached_at": now.isoformat(),
            "ttl": (now + timedelta(seconds=1)).isoformat(),
            **answer,
        }

    def status(self) -> dict[str, Any]:
        """`/status`."""
        status = self._snapshot.status()
        now = self._now()
        started = now - timedelta(seconds=status["uptime"])
        return self.envelope(
            status={
                "router_id": status["bgp_identifier"],
                "version": status["version"],
                "hostname": self._snapshot.speaker.settings.speaker.hostname or "",
                "current_server": now.strftime(TIME),
                "server_time": now.isoformat(),
                "last_reboot": started.strftime(TIME),
                "last_reconfig": started.strftime(TIME),
                "message": "Daemon is up and running",
            }
        )

    def protocols(self) -> dict[str, Any]:
        """`/protocols` and `/protocols/bgp`."""
        return self.envelope(protocols={peer["name"]: self._protocol(peer) for peer in self._snapshot.peers()})

    def short(self) -> dict[str, Any]:
        """`/protocols/short`."""
        return self.envelope(
            protocols={
                name: {
                    "proto": "BGP",
                    "table": "master",
                    "state": each["state"],
                    "since": each["state_changed"],
                    "info": each["connection"],
                }
                for name, each in self.protocols()["protocols"].items()
            }
        )

    async def routes(self, **selection: Any) -> dict[str, Any]:
        """`/routes/...`: the routes that `Snapshot.routes` finds."""
        return self.envelope(routes=[self._route(route) async for route in self._snapshot.routes(**selection)])

    async def net(self, text: str) -> dict[str, Any]:
        """`/route/net/PREFIX`: all paths to the longest prefix that covers it."""
        family, key = parse_prefix(text, None)
        return await self.routes(family=family, key=key, match="longest")

    def peer_of(self, address: str) -> str:
        """The name of the peer at an address; the address itself if there is none."""
        return next((peer["name"] for peer in self._snapshot.peers() if peer["address"] == address), address)

    def _protocol(self, peer: dict[str, Any]) -> dict[str, Any]:
        up = peer["state"] == State.ESTABLISHED.value
        changed = self._now() - timedelta(seconds=peer.get("uptime", 0.0))
        count = peer.get("prefixes", 0)
        return {
            "protocol": peer["name"],
            "bird_protocol": "BGP",
            "state": "up" if up else "start",
            "connection": peer["state"],
            "bgp_state": peer["state"],
            "state_changed": changed.strftime(TIME),
            "description": peer["name"],
            "neighbor_address": peer["address"],
            "neighbor_as": peer["as"],
            "table": "master",
            "preference": 100,
            "last_error": peer.get("last_end", ""),
            "routes": {"imported": count, "filtered": 0, "exported": peer.get("updates_sent", 0), "preferred": count},
            "route_changes": {},
        }

    def _route(self, route: dict[str, Any]) -> dict[str, Any]:
        peer = next((each for each in self._snapshot.peers() if each["name"] == route["from"]), {})
        now = self._now()
        return {
            "network": route["prefix"],
            "gateway": route.get("next_hop", ""),
            "interface": "",
            "from_protocol": route["from"],
            "learnt_from": peer.get("address", ""),
            "metric": 100,
            "primary": route["best"],
            "age": now.strftime(TIME),
            "type": ["BGP", "univ"],
            "bgp": {
                "origin": route.get("origin", ""),
                "as_path": route.get("as_path", "").split(),
                "next_hop": route.get("next_hop", ""),
                "local_pref": str(route.get("local_pref", 100)),
                "med": str(route.get("med", 0)),
                "communities": [list(map(int, each.split(":"))) for each in route.get("communities", ())],
                "large_communities": [list(map(int, each.split(":"))) for each in route.get("large_communities", ())],
                "ext_communities": [
                    ["generic", f"0x{each[:8]}", f"0x{each[8:]}"] for each in route.get("extended_communities", ())
                ],
                "atomic_aggr": str(int(AttributeType.ATOMIC_AGGREGATE)) in route.get("other", {}),
            },
        }
