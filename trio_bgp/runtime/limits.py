"""How often something may be done for whoever asks for too much of it."""

import attrs

__all__ = ["RateLimit"]


@attrs.define
class RateLimit:
    """A token bucket that counts what it refused."""

    rate: float
    """Times a second in the long run."""
    burst: float
    """Times at once."""
    _tokens: float = attrs.field(init=False)
    _at: float = -1.0
    refused: int = 0
    """Since `take_refused` was called last."""

    def __attrs_post_init__(self) -> None:
        self._tokens = self.burst

    def allow(self, now: float) -> bool:
        """Whether it may be done at this time, in seconds on any clock that goes forward."""
        if self._at >= 0:
            self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            self.refused += 1
            return False
        self._tokens -= 1
        return True

    def idle(self, now: float) -> bool:
        """Whether as much may be done at once as ever: it need not be remembered."""
        return self._tokens + (now - self._at) * self.rate >= self.burst

    def take_refused(self) -> int:
        """How often it was refused since last asked."""
        refused, self.refused = self.refused, 0
        return refused
