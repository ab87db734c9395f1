"""Connecting to a BMP station over the kernel's sockets."""

import socket
from ipaddress import ip_address

import pytest
import trio

from trio_bgp.monitoring.station import connect_station
from trio_bgp.settings import BmpStationSettings, Endpoint


def station(host: str, port: int) -> BmpStationSettings:
    """Settings of a station there."""
    return BmpStationSettings(address=Endpoint(ip_address(host), port))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_a_station_is_connected_to(host: str) -> None:
    """Over IPv4 and IPv6; octets arrive, and what it says can be read."""
    (listener,) = await trio.open_tcp_listeners(0, host=host)
    async with listener:
        transport = await connect_station(station(host, listener.socket.getsockname()[1]))
        stream = await listener.accept()
        async with stream:
            assert transport.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            await transport.send([b"ab", b"c"])
            assert await stream.receive_some(10) == b"abc"
        view = memoryview(bytearray(10))
        assert await transport.receive_into(view) == 0
        transport.abort()


async def test_why_it_cannot_be_is_told() -> None:
    """The system's name for it and its words, once each."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(OSError, match="ECONNREFUSED") as caught:
            await connect_station(station("127.0.0.1", free.getsockname()[1]))
    assert caught.value.strerror == "ECONNREFUSED: Connection refused"
