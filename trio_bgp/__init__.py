"""trio-bgp: a BGP route server and route reflector on Trio that forwards the received octets themselves."""

from typing import Final

__version__: Final = "0.1.0"
