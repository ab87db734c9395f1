"""TOML to settings."""

from trio_bgp.config.reader import ConfigError, Problem, load_settings, parse_settings

__all__ = ["ConfigError", "Problem", "load_settings", "parse_settings"]
