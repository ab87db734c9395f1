import pytest

from trio_bgp.passthrough.cache import CacheFullError, MessageCache
from trio_bgp.passthrough.mask import NO_REQUIREMENT
from trio_bgp.passthrough.message import PassthroughMessage
from trio_bgp.passthrough.pool import BufferPool
from trio_bgp.wire.header import KEEPALIVE


def received(pool: BufferPool) -> PassthroughMessage:
    """A message in a slab; its one reference is the caller's."""
    slab = pool.take()
    slab.data[: len(KEEPALIVE)] = KEEPALIVE
    message = PassthroughMessage(slab, 0, len(KEEPALIVE), 1, NO_REQUIREMENT)
    slab.release()
    return message


def test_a_held_message_is_the_caches_until_it_is_taken() -> None:
    """Add, contains, take: the reference moves with the message, and no slab is kept meanwhile."""
    pool = BufferPool()
    cache = MessageCache()
    number = cache.add(received(pool))
    assert pool.outstanding == 0
    assert cache.contains(number)
    assert (len(cache), cache.octets) == (1, 19)
    message = cache.take(number)
    assert bytes(message.octets) == KEEPALIVE
    assert message.ref_count == 1
    assert not cache.contains(number)
    assert cache.octets == 0
    with pytest.raises(KeyError):
        cache.take(number)


def test_numbers_are_never_used_again() -> None:
    """A stale number cannot mean another message."""
    cache = MessageCache()
    first = cache.add(received(BufferPool()))
    cache.delete(first)
    assert cache.add(received(BufferPool())) != first
    with pytest.raises(KeyError):
        cache.delete(first)
    cache.clear()
    assert len(cache) == 0


def test_a_full_cache_refuses_and_evicts_nothing() -> None:
    """The message that does not fit stays the caller's."""
    cache = MessageCache(limit=40)
    kept = [cache.add(received(BufferPool())) for _ in range(2)]
    message = received(BufferPool())
    with pytest.raises(CacheFullError, match="19 octets more than the 38 held exceed the limit of 40"):
        cache.add(message)
    assert message.ref_count == 1
    message.release()
    assert all(cache.contains(number) for number in kept)


def test_a_reference_held_elsewhere_stays_good() -> None:
    """Adding gives back the caller's reference only."""
    pool = BufferPool()
    message = received(pool)
    message.acquire()
    MessageCache().add(message)
    assert bytes(message.octets) == KEEPALIVE
    message.release()
    assert pool.outstanding == 0
