"""The looking glass' one page (`page.html`): no build step, nothing from elsewhere."""

from importlib.resources import files
from typing import Final

__all__ = ["PAGE"]

PAGE: Final = files("trio_bgp.control").joinpath("page.html").read_text(encoding="utf-8")
