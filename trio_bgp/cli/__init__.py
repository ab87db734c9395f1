"""The command line: one file for each command."""

from trio_bgp.cli.main import main

__all__ = ["main"]
