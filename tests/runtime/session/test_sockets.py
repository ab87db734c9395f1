import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
import trio

from trio_bgp.runtime.session import sockets
from trio_bgp.settings import Endpoint, PeerSettings

IP_MINTTL = 21
LOOPBACKS = ["127.0.0.1", "::1"]


def peer_at(listener: socket.socket, **more: object) -> PeerSettings:
    """Settings of a peer that listens on `listener`."""
    host, port = listener.getsockname()[:2]
    return PeerSettings(name="peer", address=ip_address(host), port=port, peer_as=65001, **more)  # type: ignore[arg-type]


def client(address: str, **more: object) -> PeerSettings:
    """Settings of a peer that connects from `address`, an address or a range."""
    where: dict[str, object] = {"range": ip_network(address)} if "/" in address else {"address": ip_address(address)}
    return PeerSettings(name="peer", peer_as=65001, **where, **more)  # type: ignore[arg-type]


async def reaches(listener: socket.socket, peer: PeerSettings, seconds: float = 1.5) -> bool:
    """Whether a connection with `peer`'s settings is made and carries octets both ways."""
    with trio.move_on_after(seconds):
        try:
            transport = await sockets.connect(peer)
        except OSError:
            return False
        try:
            await trio.lowlevel.wait_readable(listener)
            accepted, _ = listener.accept()
            with accepted:
                await transport.send([b"ping"])
                await trio.lowlevel.wait_readable(accepted)
                assert accepted.recv(10) == b"ping"
                accepted.send(b"pong")
                view = memoryview(bytearray(10))
                count = await transport.receive_into(view)
                return bytes(view[:count]) == b"pong"
        finally:
            transport.abort()
    return False


def needs_md5() -> None:
    """Skip where the kernel has no TCP-MD5."""
    with socket.socket() as probe:
        try:
            sockets.set_md5(probe, IPv4Address("127.0.0.1"), "x")
        except OSError as error:
            pytest.skip(f"no TCP-MD5 here: {error}")


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_listen_and_connect(host: str) -> None:
    """Both address families; small messages are not held back (TCP_NODELAY)."""
    with sockets.listen(Endpoint(ip_address(host), 0), []) as listener:
        transport = await sockets.connect(peer_at(listener))
        assert transport.peer_address == host
        assert transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert not transport.socket.get_inheritable()
        transport.abort()
        (await_peer, _) = listener.accept()
        await_peer.close()
        assert await reaches(listener, peer_at(listener))


async def test_a_local_address_is_the_source_of_the_connection() -> None:
    """`local_address` decides which peer the other side sees."""
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), []) as listener:
        transport = await sockets.connect(peer_at(listener, local_address=IPv4Address("127.0.0.9")))
        assert transport.local_address == "127.0.0.9"
        transport.abort()


def test_a_taken_address_is_named() -> None:
    """The error says which endpoint could not be listened on, and no socket is left behind."""
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), []) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(OSError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            sockets.listen(Endpoint(IPv4Address("127.0.0.1"), port), [])


async def test_a_refused_connection_and_a_range_are_os_errors() -> None:
    """Whoever dials has one exception to expect."""
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), []) as listener:
        nobody = peer_at(listener)
    with pytest.raises(ConnectionRefusedError):
        await sockets.connect(nobody)
    with pytest.raises(OSError, match="range"):
        await sockets.connect(client("127.0.0.0/8"))


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.parametrize("where", ["address", "range"])
async def test_md5(host: str, where: str) -> None:
    """FSM-17: the same key connects, another or none does not; for one address and for a range of them."""
    needs_md5()
    configured = host if where == "address" else {"127.0.0.1": "127.0.0.0/8", "::1": "::/64"}[host]
    keyed = client(configured, md5_password="secret")
    with sockets.listen(Endpoint(ip_address(host), 0), [keyed]) as listener:
        assert await reaches(listener, peer_at(listener, md5_password="secret"))
        assert not await reaches(listener, peer_at(listener, md5_password="other"), 0.5)
        assert not await reaches(listener, peer_at(listener), 0.5)


async def test_a_key_does_not_concern_other_peers() -> None:
    """A key for one address leaves connections from others unsigned; keys of the other family are not installed."""
    needs_md5()
    peers = [client("127.0.0.7", md5_password="secret"), client("::1", md5_password="secret")]
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), peers) as listener:
        assert await reaches(listener, peer_at(listener))
        keyed = peer_at(listener, local_address=IPv4Address("127.0.0.7"), md5_password="secret")
        assert await reaches(listener, keyed)
        unsigned = peer_at(listener, local_address=IPv4Address("127.0.0.7"))
        assert not await reaches(listener, unsigned, 0.5)


async def test_keys_come_and_go_while_a_socket_listens() -> None:
    """A reload: a peer gets a key, another one, none; who was there before keeps its own."""
    needs_md5()
    other = client("127.0.0.7", md5_password="kept")
    plain, keyed = client("127.0.0.1"), client("127.0.0.1", md5_password="secret")
    renewed = client("127.0.0.1", md5_password="renewed")
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), [plain, other]) as listener:
        sockets.protect(listener, [keyed, other], [plain, other])
        assert await reaches(listener, peer_at(listener, md5_password="secret"))
        assert not await reaches(listener, peer_at(listener), 0.5)
        sockets.protect(listener, [renewed, other], [keyed, other])
        assert await reaches(listener, peer_at(listener, md5_password="renewed"))
        sockets.protect(listener, [other], [renewed, other])
        assert await reaches(listener, peer_at(listener))
        assert await reaches(listener, peer_at(listener, local_address=IPv4Address("127.0.0.7"), md5_password="kept"))


def test_a_key_that_is_too_long_is_refused() -> None:
    """The kernel takes 80 octets; the passphrase is not in the message."""
    with socket.socket() as connection, pytest.raises(OSError, match="at most 80 octets") as caught:
        sockets.set_md5(connection, IPv4Address("127.0.0.1"), "k" * 81)
    assert "kkk" not in str(caught.value)


@pytest.mark.parametrize("host", LOOPBACKS)
async def test_ttl_security_on_both_sides(host: str) -> None:
    """RFC 5082: a peer with GTSM of its own reaches us, because our SYN-ACK already has TTL 255."""
    with sockets.listen(Endpoint(ip_address(host), 0), [client(host, ttl_security=1)]) as listener:
        assert await reaches(listener, peer_at(listener, ttl_security=1))


async def test_ttl_security_drops_what_came_from_too_far() -> None:
    """A listener at the default TTL looks 191 hops away: with GTSM no connection is made."""
    with sockets.listen(Endpoint(IPv4Address("127.0.0.1"), 0), []) as listener:
        assert not await reaches(listener, peer_at(listener, ttl_security=1), 0.5)
        assert await reaches(listener, peer_at(listener, ttl_security=255))


@pytest.mark.parametrize("host", LOOPBACKS)
@pytest.mark.parametrize(("hops", "least"), [(1, 255), (3, 253)])
def test_an_accepted_connection_gets_its_peers_ttl_security(host: str, hops: int, least: int) -> None:
    """The minimum TTL holds once the peer is known, and what came before is judged by its SYN."""
    six = host == "::1"
    level, outgoing = (socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS) if six else (socket.IPPROTO_IP, socket.IP_TTL)
    peer = client(host, ttl_security=hops)
    with sockets.listen(Endpoint(ip_address(host), 0), [peer]) as listener:
        for ttl in (1, least - 1, least, 255):
            with socket.socket(socket.AF_INET6 if six else socket.AF_INET) as sender:
                sender.setsockopt(level, outgoing, ttl)
                sender.connect(listener.getsockname()[:2])
                connection, _ = listener.accept()
                with connection:
                    if ttl < least:
                        with pytest.raises(OSError, match=f"GTSM: it came with a TTL of {ttl}, at least {least}"):
                            sockets.protect_accepted(connection, peer)
                    else:
                        sockets.protect_accepted(connection, peer)
                    minimum = connection.getsockopt(level, sockets.IPV6_MINHOPCOUNT if six else IP_MINTTL)
                    assert minimum == least


def test_without_ttl_security_an_accepted_connection_is_left_alone() -> None:
    """Nothing is set for a peer that does not ask for it."""
    with socket.socket() as connection:
        sockets.protect_accepted(connection, client("127.0.0.1"))
        assert connection.getsockopt(socket.IPPROTO_IP, IP_MINTTL) == 0


def test_an_ipv6_listener_leaves_ipv4_alone() -> None:
    """`[::]` and `0.0.0.0` can both be listened on with one port."""
    with sockets.listen(Endpoint(IPv6Address("::"), 0), []) as six:
        port = six.getsockname()[1]
        sockets.listen(Endpoint(IPv4Address("0.0.0.0"), port), []).close()
