"""`trio-bgp demo`: a route server at work, with speakers of its own."""

import argparse

__all__ = ["add_parser"]


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
