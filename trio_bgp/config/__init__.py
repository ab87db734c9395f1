"""TOML to settings: the only room that reads TOML."""

from trio_bgp.config.problems import ConfigError, Problem, printable
from trio_bgp.config.reader import load_settings, parse_settings

__all__ = ["ConfigError", "Problem", "load_settings", "parse_settings", "printable"]
