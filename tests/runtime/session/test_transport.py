import socket
import struct
from collections.abc import Iterator

import pytest
import trio
from trio.testing import memory_stream_pair, wait_all_tasks_blocked

from trio_bgp.runtime.session.transport import SocketTransport, StreamTransport, Transport, TransportClosed


@pytest.fixture
def local() -> Iterator[tuple[SocketTransport, socket.socket]]:
    """A transport and the far end of its socket pair."""
    ours, far = socket.socketpair()
    far.setblocking(False)
    transport = SocketTransport(ours)
    yield transport, far
    far.close()
    transport.socket.close()


@pytest.fixture
def tcp() -> Iterator[tuple[SocketTransport, socket.socket]]:
    """The same over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        far, _ = listener.accept()
    far.setblocking(False)
    transport = SocketTransport(ours)
    yield transport, far
    far.close()
    transport.socket.close()


def reset(far: socket.socket) -> None:
    """End a TCP connection by RST."""
    far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    far.close()


async def read_all(far: socket.socket, total: int) -> bytes:
    """So many octets from the far end, in many small reads."""
    found = bytearray()
    while len(found) < total:
        await trio.lowlevel.wait_readable(far)
        part = far.recv(50000)
        assert part
        found += part
    return bytes(found)


async def test_a_gather_write_larger_than_the_socket_buffer_arrives_whole(
    tcp: tuple[SocketTransport, socket.socket],
) -> None:
    """More chunks than one system call takes, of all sizes, in order; writes that end amid a chunk go on there."""
    transport, far = tcp
    transport.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    chunks: list[memoryview | bytes] = []
    for number in range(1500):
        octets = number.to_bytes(4, "big") * (number % 700)
        chunks.append(octets if number % 2 else memoryview(bytearray(octets)))
    chunks.append(bytes(range(256)) * 4000)
    expected = b"".join(chunks)
    found = b""

    async def read() -> None:
        nonlocal found
        found = await read_all(far, len(expected))

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await transport.send(chunks)
    assert found == expected
    assert transport.octets_sent == len(expected) > 3_000_000
    assert not transport.mid_write


async def test_empty_chunks_are_nothing(local: tuple[SocketTransport, socket.socket]) -> None:
    """Neither alone nor among others do they hold a write up."""
    transport, far = local
    with trio.fail_after(5):
        await transport.send([])
        await transport.send([b""])
        await transport.send([b"", b"one", b"", b"", b"two", b""])
        await transport.send([memoryview(b"three")])
    assert far.recv(100) == b"onetwothree"
    assert transport.octets_sent == 11


async def test_progress_of_a_write_can_be_seen(local: tuple[SocketTransport, socket.socket]) -> None:
    """The send hold timer (RFC 9687) asks what was sent so far; a write given up stays half done."""
    transport, far = local
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send, [bytes(1_000_000), bytes(9_000_000)])
        await wait_all_tasks_blocked(0.02)
        before = transport.octets_sent
        assert 0 < before < 10_000_000
        assert transport.mid_write
        await read_all(far, before)
        await wait_all_tasks_blocked(0.02)
        assert before < transport.octets_sent < 10_000_000
        nursery.cancel_scope.cancel()
    assert transport.mid_write


async def test_receive_now_says_what_is_there(local: tuple[SocketTransport, socket.socket]) -> None:
    """None if nothing, the number of octets, 0 at the end; never more than the view takes."""
    transport, far = local
    buffer = bytearray(8)
    view = memoryview(buffer)
    assert transport.receive_now(view) is None
    far.send(b"0123456789")
    assert transport.receive_now(view[:6]) == 6
    assert transport.receive_now(view) == 4
    assert bytes(buffer) == b"678945\0\0"
    assert transport.receive_now(view) is None
    far.close()
    assert transport.receive_now(view) == 0
    assert transport.receive_now(view) == 0


async def test_unread_says_whether_there_is_something(local: tuple[SocketTransport, socket.socket]) -> None:
    """Without taking it; the end of the stream is something, a transport of our own closing has nothing."""
    transport, far = local
    assert not transport.unread()
    far.send(b"x")
    assert transport.unread()
    assert transport.unread()
    assert transport.receive_now(memoryview(bytearray(8))) == 1
    assert not transport.unread()
    far.close()
    assert transport.unread()
    transport.abort()
    assert not transport.unread()


async def test_receive_into_waits(local: tuple[SocketTransport, socket.socket]) -> None:
    """It returns with the first octets."""
    transport, far = local
    buffer = bytearray(8)
    found: list[int] = []

    async def receive() -> None:
        found.append(await transport.receive_into(memoryview(buffer)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert found == []
        far.send(b"abc")
    assert found == [3]
    assert buffer[:3] == b"abc"


async def test_a_reset_by_the_peer_is_transport_closed(tcp: tuple[SocketTransport, socket.socket]) -> None:
    """In the system's words, for whoever waits to read; then and later, reading and writing."""
    transport, far = tcp
    view = memoryview(bytearray(8))

    async def receive() -> None:
        with pytest.raises(TransportClosed, match="ECONNRESET"):
            await transport.receive_into(view)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            reset(far)
        with pytest.raises(TransportClosed, match="EPIPE"):
            await transport.send([b"x"])
        with pytest.raises(TransportClosed, match="EPIPE"):
            await transport.send([b"x", b"y"])


async def test_a_reset_ends_a_write_that_waits(tcp: tuple[SocketTransport, socket.socket]) -> None:
    """A peer that stops reading and then resets leaves nobody waiting."""
    transport, far = tcp

    async def send() -> None:
        with pytest.raises(TransportClosed, match=r"ECONNRESET|EPIPE"):
            await transport.send([bytes(20_000_000), b"more"])

    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            await wait_all_tasks_blocked(0.02)
            reset(far)


async def test_abort_ends_tasks_that_wait(local: tuple[SocketTransport, socket.socket]) -> None:
    """Both of them, reading and writing; later calls are refused in the same way, and it may be called again."""
    transport, _ = local
    view = memoryview(bytearray(8))
    ended: list[str] = []

    async def receive() -> None:
        with pytest.raises(TransportClosed):
            await transport.receive_into(view)
        ended.append("receive")

    async def send() -> None:
        with pytest.raises(TransportClosed):
            await transport.send([bytes(20_000_000)])
        ended.append("send")

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            nursery.start_soon(send)
            await wait_all_tasks_blocked(0.02)
            assert ended == []
            transport.abort()
    assert sorted(ended) == ["receive", "send"]
    transport.abort()
    with pytest.raises(TransportClosed):
        transport.receive_now(view)
    with pytest.raises(TransportClosed):
        await transport.wait_readable()
    with pytest.raises(TransportClosed):
        await transport.send([b"x"])


async def test_a_tcp_connection_knows_its_addresses_and_does_not_wait() -> None:
    """Those of both ends; TCP_NODELAY is set; a Trio socket is taken over."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connection = trio.socket.socket()
        await connection.bind(("127.0.0.7", 0))
        await connection.connect(listener.getsockname())
        far, _ = listener.accept()
    transport = SocketTransport(connection)
    assert (transport.peer_address, transport.local_address) == ("127.0.0.1", "127.0.0.7")
    assert transport.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    assert connection.fileno() == -1
    with far:
        await transport.send([b"x"])
        await trio.lowlevel.wait_readable(far)
        assert far.recv(10) == b"x"
    transport.abort()


def test_a_socket_without_address_is_local(local: tuple[SocketTransport, socket.socket]) -> None:
    """Socket pairs have none."""
    assert (local[0].peer_address, local[0].local_address) == ("local", "local")


def stream() -> tuple[StreamTransport, trio.abc.HalfCloseableStream]:
    """A transport over a stream in memory, and the far end."""
    ours, far = memory_stream_pair()
    return StreamTransport(ours, peer_address="192.0.2.1"), far


async def test_a_stream_is_read_like_a_socket() -> None:
    """None until `wait_readable` has something; parts of it; 0 at the end, for good."""
    transport, far = stream()
    buffer = bytearray(8)
    view = memoryview(buffer)
    assert transport.receive_now(view) is None
    await far.send_all(b"0123456789")
    assert transport.receive_now(view) is None
    await transport.wait_readable()
    await transport.wait_readable()
    assert transport.unread()
    assert transport.receive_now(view[:6]) == 6
    assert transport.receive_now(view) == 4
    assert bytes(buffer) == b"678945\0\0"
    assert not transport.unread()
    assert transport.receive_now(view) is None
    await far.send_eof()
    assert await transport.receive_into(view) == 0
    assert await transport.receive_into(view) == 0
    assert (transport.peer_address, transport.local_address) == ("192.0.2.1", "127.0.0.1")


async def test_a_stream_counts_what_was_sent_piece_by_piece() -> None:
    """So that the send hold timer sees progress in a large write."""
    ours, far = trio.testing.lockstep_stream_pair()
    transport = StreamTransport(ours, peer_address="192.0.2.1")
    octets = bytes(range(256)) * 400
    chunks: list[memoryview | bytes] = [octets[:1000], memoryview(octets)[1000:]]
    found = b""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(transport.send, chunks)
        await wait_all_tasks_blocked()
        assert transport.octets_sent == 0
        assert transport.mid_write
        seen = []
        while len(found) < len(octets):
            found += await far.receive_some(100_000)
            await wait_all_tasks_blocked()
            seen.append(transport.octets_sent)
    assert found == octets
    assert seen == sorted(set(seen))
    assert len(seen) > 5
    assert transport.octets_sent == len(octets)
    assert not transport.mid_write


async def test_a_broken_stream_is_transport_closed() -> None:
    """Writing to a far end that is gone."""
    transport, far = stream()
    await trio.aclose_forcefully(far)
    with pytest.raises(TransportClosed):
        await transport.send([b"x"])


async def test_abort_closes_a_stream() -> None:
    """Whoever waits or comes later gets TransportClosed, and the far end sees the end; it may be called again."""
    transport, far = stream()

    async def receive(transport: Transport) -> None:
        with pytest.raises(TransportClosed):
            await transport.receive_into(memoryview(bytearray(8)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive, transport)
        await wait_all_tasks_blocked()
        transport.abort()
        transport.abort()
    assert await far.receive_some(10) == b""
    with pytest.raises(TransportClosed):
        transport.receive_now(memoryview(bytearray(8)))
    with pytest.raises(TransportClosed):
        await transport.wait_readable()
    with pytest.raises(TransportClosed):
        await transport.send([b"x"])
