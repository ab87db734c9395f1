"""Reading the fields of a record's body one after the other."""

from ipaddress import IPv4Address, IPv6Address
from typing import Final

from trio_bgp.mrt.records import MrtError

__all__ = ["AFI_IPV4", "AFI_IPV6", "Fields", "address_of_afi"]

AFI_IPV4: Final = 1
AFI_IPV6: Final = 2


def address_of_afi(octets: bytes) -> IPv4Address | IPv6Address:
    """The address of 4 or 16 octets."""
    return IPv4Address(octets) if len(octets) == 4 else IPv6Address(octets)


class Fields:
    """A body and how far it has been read.

    Args:
        octets: the body.
        what: what it is, for messages.
    """

    def __init__(self, octets: bytes, what: str) -> None:
        self.octets = octets
        self.position = 0
        self._what = what

    def take(self, size: int) -> bytes:
        """The next `size` octets.

        Raises:
            MrtError: there are fewer.
        """
        end = self.position + size
        if end > len(self.octets):
            raise MrtError(f"{self._what} of {len(self.octets)} octets, at least {end} are needed")
        found = self.octets[self.position : end]
        self.position = end
        return found

    def number(self, size: int) -> int:
        """The next `size` octets as a number. Errors as for `take`."""
        return int.from_bytes(self.take(size), "big")

    def rest(self) -> bytes:
        """All that is left."""
        return self.take(len(self.octets) - self.position)

    def finish(self) -> None:
        """Nothing may be left.

        Raises:
            MrtError: something is.
        """
        if self.position != len(self.octets):
            raise MrtError(f"{self._what} with {len(self.octets) - self.position} octets too many")
