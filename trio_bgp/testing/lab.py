"""Daemons and speakers connected in memory."""

import contextlib
import logging
import random
from collections.abc import AsyncIterator, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import attrs
import trio
import trio.testing

from trio_bgp.config import parse_settings
from trio_bgp.config.diff import compare
from trio_bgp.monitoring.bmp import Stations
from trio_bgp.runtime.session.transport import StreamTransport, Transport
from trio_bgp.runtime.speaker import Speaker
from trio_bgp.settings import AddPathSettings, PeerChange, PeerSettings, Policy, Role, Settings, SpeakerSettings
from trio_bgp.testing.faults import Faults, FaultyStream
from trio_bgp.testing.peer import BgpPeer
from trio_bgp.testing.window import window_stream_pair
from trio_bgp.wire.capabilities import Capability
from trio_bgp.wire.numbers import IPV4_UNICAST, IPV6_UNICAST, Family

__all__ = ["BgpLab", "bgp_lab"]

QUIET_SECONDS = 0.001


class Crashes(logging.Handler):
    """Keeps what daemons log of crashed tasks."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        if record.exc_info:
            self.records.append(record)

    @property
    def cause(self) -> BaseException | None:
        """What the first one died of."""
        found = self.records[0].exc_info
        return found[1] if found else None


class BgpLab:
    """Running daemons and the speakers around them, made by `bgp_lab`.

    Attributes:
        speaker: the first daemon.
        daemons: all, by name; the first is `""`.
    """

    def __init__(self, nursery: trio.Nursery, seed: int) -> None:
        self.daemons: dict[str, Speaker] = {}
        self._nursery = nursery
        self._rng = random.Random(seed)
        self._at: dict[IPv4Address | IPv6Address, Speaker] = {}
        self._peers = 0

    @property
    def speaker(self) -> Speaker:
        """The first daemon."""
        return self.daemons[""]

    async def daemon(self, name: str, settings: Settings | str, address: str) -> Speaker:
        """Start a daemon that lives at an address of the lab; what it says of listening does not count.

        Peers in its configuration that are not passive are connected to if a daemon of the lab lives at their address.

        Args:
            name: what the lab calls it.
            settings: its configuration, or the TOML text of one.
            address: where it lives.

        Raises:
            ConfigError: the text is no valid configuration.
        """
        if isinstance(settings, str):
            settings = parse_settings(settings, name or "settings")
        own = ip_address(address)
        settings = attrs.evolve(settings, speaker=attrs.evolve(settings.speaker, listen=()))

        async def connect(peer: PeerSettings) -> Transport:
            target = None if peer.address is None else self._at.get(peer.address)
            if target is None:
                raise ConnectionRefusedError(f"nobody lives at {peer.address}")
            ours, theirs = trio.testing.memory_stream_pair()
            target.accept(StreamTransport(theirs, peer_address=address, local_address=str(peer.address)))
            return StreamTransport(ours, peer_address=str(peer.address), local_address=address)

        speaker = Speaker(settings, connect=connect, rng=random.Random(self._rng.random()))
        Stations(speaker)
        self.daemons[name] = speaker
        self._at[own] = speaker
        await self._nursery.start(lambda task_status: speaker.run(task_status=task_status))
        return speaker

    async def peer(
        self,
        name: str | None = None,
        *,
        asn: int | None = None,
        role: Role = Role.RS_CLIENT,
        families: Sequence[Family] = (IPV4_UNICAST, IPV6_UNICAST),
        asn4: bool = True,
        hold_time: int = 0,
        extended_message: bool = False,
        add_path: int = 0,
        capabilities: Sequence[Capability] = (),
        faults: Faults | None = None,
        window: int | None = None,
        daemon: str = "",
        wait: bool = True,
        **settings: Any,
    ) -> BgpPeer:
        """Connect a speaker to a daemon, as a peer of its configuration or as a new one.

        Args:
            name: of a configured peer, or of the new one; `peer1` and so on by default.
            asn: its AS number; 65001 and so on by default.
            role: what it is to the daemon, if it is new.
            families: the address families both offer.
            asn4: it has 4-octet AS numbers.
            hold_time: it offers, in seconds.
            extended_message: it takes messages of up to 65,535 octets.
            add_path: it offers for all families: 1 receive, 2 send, 3 both (RFC 7911); the daemon offers the
                other side of it to a new peer, to a configured one what its configuration says.
            capabilities: further ones that it offers.
            faults: of its connection.
            window: octets that may be under way in each direction before the writer has to wait; None: no limit. Give
                one to see what a peer that reads nothing (`peer.stream.freeze()`) does to the daemon.
            daemon: the daemon's name.
            wait: return when the session is up.
            settings: further settings of `PeerSettings`, if it is new.
        """
        speaker = self.daemons[daemon]
        self._peers += 1
        number = self._peers
        name = name or f"peer{number}"
        known = next((each for each in speaker.settings.peers if each.name == name), None)
        if known is None:
            known = PeerSettings(
                name=name,
                address=ip_address(f"198.18.{number >> 8}.{number & 0xFF}"),
                peer_as=asn or (65000 + number if not role.internal else speaker.settings.speaker.local_as),
                role=role,
                families=tuple(families),
                passive=True,
                hold_time=hold_time,
                add_path=AddPathSettings(AddPathSettings.ALL if add_path & 1 else 0, receive=bool(add_path & 2)),
                import_policy=Policy.ACCEPT,
                export_policy=Policy.ACCEPT,
                **settings,
            )
            changed = attrs.evolve(speaker.settings, peers=(*speaker.settings.peers, known))
            speaker.reconfigure(changed, [PeerChange("added", name, known)])
        if known.address is None:
            raise ValueError(f"{name} is a range: give its peers names of their own")
        pair = trio.testing.memory_stream_pair() if window is None else window_stream_pair(window)
        ours: trio.abc.Stream = pair[0]
        theirs: trio.abc.Stream = pair[1]
        stream = FaultyStream(ours, faults, random.Random(self._rng.random()))
        peer = BgpPeer(
            name,
            stream,
            asn=asn or known.peer_as,
            identifier=0xC6120000 + number,
            families=families,
            asn4=asn4,
            hold_time=hold_time,
            extended_message=extended_message,
            add_path=add_path,
            capabilities=capabilities,
        )
        speaker.accept(StreamTransport(theirs, peer_address=str(known.address)))
        self._nursery.start_soon(peer.run)
        if wait:
            await peer.wait_established()
            await self.settle()
        return peer

    def reload(self, settings: Settings | str, daemon: str = "") -> list[str]:
        """Have a daemon take over a changed configuration, as `trio-bgp reload` does.

        Args:
            settings: the configuration, or its TOML text.
            daemon: the daemon's name.

        Returns:
            what changed, as `trio-bgp diff` says it.

        Raises:
            ConfigError: the text is no valid configuration; nothing has changed.
            ValueError: the change needs a restart; nothing has changed.
        """
        if isinstance(settings, str):
            settings = parse_settings(settings, daemon or "settings")
        speaker = self.daemons[daemon]
        settings = attrs.evolve(settings, speaker=attrs.evolve(settings.speaker, listen=()))
        found = compare(speaker.settings, settings)
        if found.needs_restart:
            raise ValueError(f"needs a restart: {', '.join(found.needs_restart)}")
        speaker.reconfigure(settings, found.peers)
        return found.lines()

    async def settle(self) -> None:
        """Wait until nobody has anything left to do but to wait for time to pass."""
        await trio.testing.wait_all_tasks_blocked(QUIET_SECONDS)


@contextlib.asynccontextmanager
async def bgp_lab(
    settings: Settings | str | None = None, *, local_as: int = 65000, address: str = "198.18.255.1", seed: int = 0
) -> AsyncIterator[BgpLab]:
    """Run a daemon in memory; use it with pytest-trio's `autojump_clock`, so that waiting takes no time.

    Args:
        settings: its configuration, or the TOML text of one; without peers by default.
        local_as: its AS number, without `settings`.
        address: where it lives, for other daemons of the lab.
        seed: of jitter and faults.

    Raises:
        AssertionError: when the lab ended, a read buffer had not been given back, or a daemon had logged that a task of
            its own crashed. Daemons survive that; a test should not.
        ConfigError: the text is no valid configuration.
    """
    if settings is None:
        settings = Settings(speaker=SpeakerSettings(local_as=local_as, bgp_identifier=0x0AFF0001))
    crashes = Crashes()
    logging.getLogger("trio_bgp").addHandler(crashes)
    try:
        async with trio.open_nursery() as nursery:
            lab = BgpLab(nursery, seed)
            await lab.daemon("", settings, address)
            yield lab
            await lab.settle()
            nursery.cancel_scope.cancel()
    finally:
        logging.getLogger("trio_bgp").removeHandler(crashes)
    if crashes.records:
        raise AssertionError(f"a daemon's task crashed: {crashes.records[0].getMessage()}") from crashes.cause
    for name, speaker in lab.daemons.items():
        if speaker.forwarder.board.pool.outstanding:
            raise AssertionError(
                f"daemon {name!r} did not give back {speaker.forwarder.board.pool.outstanding} buffers"
            )
