"""`MessageCache`: messages that a program holds and forwards later, by number.

Ownership is explicit: a message in the cache is the cache's, one that was taken is the taker's. Nothing is evicted;
a full cache refuses, so nobody loses a route without knowing.
"""

from itertools import count

from trio_bgp.passthrough.message import PassthroughMessage

__all__ = ["CacheFullError", "MessageCache"]


class CacheFullError(Exception):
    """The cache has no room for the message, which stays the caller's."""


class MessageCache:
    """Messages by number.

    Args:
        limit: octets that all messages together may have.
    """

    def __init__(self, limit: int = 64 * 1024 * 1024) -> None:
        self.limit = limit
        self.octets = 0
        """Octets of the messages held now."""
        self._messages: dict[int, PassthroughMessage] = {}
        self._numbers = count(1)

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: PassthroughMessage) -> int:
        """Hold a message, taking over the caller's reference; its octets are kept apart from the slab they lie in.

        A message may be held for hours, and 80 octets must not keep a slab of 256 KiB from being used again.

        Returns:
            its number, never used again by this cache.

        Raises:
            CacheFullError: there is no room; the reference stays the caller's.
        """
        size = len(message)
        if self.octets + size > self.limit:
            raise CacheFullError(f"{size} octets more than the {self.octets} held exceed the limit of {self.limit}")
        if message.slab is not None:
            apart = PassthroughMessage.apart(bytes(message.octets), message.count, message.required_caps)
            message.release()
            message = apart
        number = next(self._numbers)
        self._messages[number] = message
        self.octets += size
        return number

    def take(self, number: int) -> PassthroughMessage:
        """Remove a message from the cache; its reference is the caller's from here on.

        Raises:
            KeyError: it is not there.
        """
        message = self._messages.pop(number)
        self.octets -= len(message)
        return message

    def contains(self, number: int) -> bool:
        """Whether a message is there."""
        return number in self._messages

    def delete(self, number: int) -> None:
        """Forget a message.

        Raises:
            KeyError: it is not there.
        """
        self.take(number).release()

    def clear(self) -> None:
        """Forget all messages."""
        for number in list(self._messages):
            self.delete(number)
