"""TCP as BGP wants it: listening and connecting, with TCP-MD5 (RFC 2385) and GTSM (RFC 5082) on Linux."""

import errno
import socket
import struct
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

import trio

from trio_bgp.runtime.session.transport import SocketTransport
from trio_bgp.settings import Endpoint, PeerSettings, TcpAo

__all__ = ["connect", "listen", "protect", "protect_accepted"]

TCP_MD5SIG: Final = 14
TCP_MD5SIG_EXT: Final = 32
TCP_MD5SIG_FLAG_PREFIX: Final = 1
TCP_MD5SIG_MAXKEYLEN: Final = 80
TCP_AO_ADD_KEY: Final = 38
TCP_AO_MAXKEYLEN: Final = 80
AO_MAC_LENGTH: Final = 12
AO_ALGORITHMS: Final = {"hmac-sha1-96": "hmac(sha1)", "aes-128-cmac-96": "cmac(aes128)"}
"""RFC 5926, and what the kernel calls them."""
TCP_SAVE_SYN: Final = 27
TCP_SAVED_SYN: Final = 28
IP_MINTTL: Final = 21
IPV6_MINHOPCOUNT: Final = 73
GTSM_TTL: Final = 255
BACKLOG: Final = 128


def listen(endpoint: Endpoint, peers: Iterable[PeerSettings]) -> socket.socket:
    """A listening socket that knows the MD5 keys of all peers of its address family.

    Raises:
        OSError: the address is in use, is not ours, or the port is privileged; the message names the endpoint.
    """
    family = socket.AF_INET6 if endpoint.address.version == 6 else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        protect(listener, peers)
        listener.bind((str(endpoint.address), endpoint.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise OSError(error.errno, f"cannot listen on {endpoint}: {error.strerror}") from None
    return listener


def protect(listener: socket.socket, peers: Iterable[PeerSettings], before: Iterable[PeerSettings] = ()) -> None:
    """Give a listening socket what it needs of its peers before it knows which of them connects.

    Args:
        listener: the socket; only peers of its address family concern it.
        peers: all there are now.
        before: all there were, whose keys it has.

    Raises:
        OSError: the system cannot do it.
    """
    peers = list(peers)
    if any(peer.ttl_security is not None for peer in peers):
        # The SYN-ACK goes out before we know whose connection it is: a peer with GTSM of its own drops it at the
        # default TTL, and to the others a TTL of 255 means nothing.
        set_outgoing_ttl(listener, listener.family)
        listener.setsockopt(socket.IPPROTO_TCP, TCP_SAVE_SYN, 1)
    old, new = _by_network(listener, before), _by_network(listener, peers)
    for network, peer in old.items():
        if peer.md5_password is not None and (network not in new or new[network].md5_password is None):
            set_md5(listener, network, "")
    for network, peer in new.items():
        known = old.get(network)
        if peer.md5_password is not None and (known is None or known.md5_password != peer.md5_password):
            set_md5(listener, network, peer.md5_password)
        if peer.tcp_ao is not None and (known is None or known.tcp_ao != peer.tcp_ao):
            set_ao(listener, network, peer.tcp_ao)


def _by_network(
    listener: socket.socket, peers: Iterable[PeerSettings]
) -> dict[IPv4Address | IPv6Address | IPv4Network | IPv6Network, PeerSettings]:
    version = 6 if listener.family == socket.AF_INET6 else 4
    networks = [(peer.range if peer.address is None else peer.address, peer) for peer in peers]
    return {network: peer for network, peer in networks if network is not None and network.version == version}


async def connect(peer: PeerSettings) -> SocketTransport:
    """Open a connection to a peer.

    Raises:
        OSError: it could not be opened.
    """
    if peer.address is None:
        raise OSError(errno.EDESTADDRREQ, "a listen range cannot be connected to")
    family = socket.AF_INET6 if peer.address.version == 6 else socket.AF_INET
    connection = trio.socket.socket(family, socket.SOCK_STREAM)
    try:
        if peer.md5_password is not None:
            set_md5(connection, peer.address, peer.md5_password)
        if peer.tcp_ao is not None:
            set_ao(connection, peer.address, peer.tcp_ao)
        if peer.ttl_security is not None:
            set_ttl_security(connection, family, peer.ttl_security)
        if peer.local_address is not None:
            await connection.bind((str(peer.local_address), 0))
        await connection.connect((str(peer.address), peer.port))
        return SocketTransport(connection)
    except BaseException:
        connection.close()
        raise


def protect_accepted(connection: socket.socket, peer: PeerSettings) -> None:
    """Apply a peer's GTSM to a connection it opened; its MD5 key came with the listening socket.

    Raises:
        OSError: the connection came from too many hops away.
    """
    if peer.ttl_security is None:
        return
    set_ttl_security(connection, connection.family, peer.ttl_security)
    # What arrived before that was not looked at, the first data included: the SYN tells how far away it was sent.
    header = connection.getsockopt(socket.IPPROTO_TCP, TCP_SAVED_SYN, 128)
    position = 7 if connection.family == socket.AF_INET6 else 8
    ttl = header[position] if len(header) > position else 0
    if ttl < 256 - peer.ttl_security:
        raise OSError(errno.EACCES, f"GTSM: it came with a TTL of {ttl}, at least {256 - peer.ttl_security} is needed")


def set_md5(
    connection: socket.socket | trio.socket.SocketType,
    peer: IPv4Address | IPv6Address | IPv4Network | IPv6Network,
    password: str,
) -> None:
    """Install a TCP-MD5 key for a peer or a range of peers (Linux `struct tcp_md5sig`); "" takes it away.

    Raises:
        OSError: the system has no TCP-MD5, or the key is longer than 80 octets.
    """
    key = password.encode()
    if len(key) > TCP_MD5SIG_MAXKEYLEN:
        raise OSError(errno.EINVAL, f"an MD5 key has at most {TCP_MD5SIG_MAXKEYLEN} octets")
    if isinstance(peer, IPv4Address | IPv6Address):
        address, prefix, option, flags = peer, 0, TCP_MD5SIG, 0
    else:
        address, prefix = peer.network_address, peer.prefixlen
        option, flags = TCP_MD5SIG_EXT, TCP_MD5SIG_FLAG_PREFIX
    value = _storage(address).ljust(128, b"\0") + struct.pack("=BBHi", flags, prefix, len(key), 0)
    connection.setsockopt(socket.IPPROTO_TCP, option, value + key.ljust(TCP_MD5SIG_MAXKEYLEN, b"\0"))


def ao_key(peer: IPv4Address | IPv6Address | IPv4Network | IPv6Network, key: TcpAo) -> bytes:
    """Linux' `struct tcp_ao_add` for a peer or a range of peers (include/uapi/linux/tcp.h): 288 octets."""
    address: IPv4Address | IPv6Address
    prefix: int
    if isinstance(peer, IPv4Address | IPv6Address):
        address, prefix = peer, peer.max_prefixlen
    else:
        address, prefix = peer.network_address, peer.prefixlen
    password = key.password.encode()
    flags = 0  # neither set_current nor set_rnext: with one key there is nothing to choose
    value = _storage(address).ljust(128, b"\0") + AO_ALGORITHMS[key.algorithm].encode().ljust(64, b"\0")
    value += struct.pack("=iIHBBBBBB", 0, flags, 0, prefix, key.key_id, key.key_id, AO_MAC_LENGTH, 0, len(password))
    return value + password.ljust(TCP_AO_MAXKEYLEN, b"\0")


def set_ao(
    connection: socket.socket | trio.socket.SocketType,
    peer: IPv4Address | IPv6Address | IPv4Network | IPv6Network,
    key: TcpAo,
) -> None:
    """Install a TCP-AO key (RFC 5925) for a peer or a range of peers.

    Raises:
        OSError: the kernel has no TCP-AO (Linux 6.7 with CONFIG_TCP_AO has), or not this algorithm.
    """
    try:
        connection.setsockopt(socket.IPPROTO_TCP, TCP_AO_ADD_KEY, ao_key(peer, key))
    except OSError as error:
        if error.errno in (errno.ENOPROTOOPT, errno.EOPNOTSUPP):
            raise OSError(error.errno, "this kernel has no TCP-AO (CONFIG_TCP_AO, Linux 6.7)") from None
        raise OSError(error.errno, f"TCP-AO with {key.algorithm}: {error.strerror}") from None


def _storage(address: IPv4Address | IPv6Address) -> bytes:
    """A `struct sockaddr_in` or `sockaddr_in6` of an address and port 0."""
    if address.version == 4:
        return struct.pack("=HH4s", socket.AF_INET, 0, address.packed)
    return struct.pack("=HHI16sI", socket.AF_INET6, 0, 0, address.packed, 0)


def set_ttl_security(connection: socket.socket | trio.socket.SocketType, family: int, hops: int) -> None:
    """Send with TTL 255 and take only packets that came over at most `hops` hops (RFC 5082, section 3)."""
    set_outgoing_ttl(connection, family)
    if family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, IPV6_MINHOPCOUNT, 256 - hops)
    else:
        connection.setsockopt(socket.IPPROTO_IP, IP_MINTTL, 256 - hops)


def set_outgoing_ttl(connection: socket.socket | trio.socket.SocketType, family: int) -> None:
    """Send with the TTL that GTSM asks for."""
    if family == socket.AF_INET6:
        connection.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, GTSM_TTL)
    else:
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, GTSM_TTL)
