"""Where things are if nobody says otherwise."""

import os
from pathlib import Path

__all__ = ["default_socket"]


def default_socket() -> str:
    """The control socket: in the user's runtime directory, or /run for root."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime:
        return str(Path(runtime) / "trio-bgp.sock")
    return "/run/trio-bgp.sock" if os.getuid() == 0 else str(Path.home() / ".trio-bgp.sock")
