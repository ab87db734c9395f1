"""The HTTP interface: what there is to ask, and on the Unix socket what there is to tell."""

from importlib.resources import files
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from trio_bgp.control.birdwatcher import Birdwatcher
from trio_bgp.control.guard import Guard, page_policy
from trio_bgp.control.read import Look
from trio_bgp.control.request import Refused, refused
from trio_bgp.control.route_counts import Counting
from trio_bgp.control.snapshot import Snapshot
from trio_bgp.control.stream import Flow, Tail
from trio_bgp.control.write import Act, Reload
from trio_bgp.runtime.speaker import Speaker

__all__ = ["Reload", "make_app", "make_looking_glass"]

PAGE: Final = files("trio_bgp.control").joinpath("page.html").read_text(encoding="utf-8")
"""The looking glass' one page: no build step, nothing from elsewhere."""
PAGE_POLICY: Final = page_policy(PAGE)


def make_app(speaker: Speaker, reload: Reload | None = None) -> Starlette:
    """The application of the control socket: it shows and changes.

    Args:
        speaker: the daemon.
        reload: for `reload` and `diff`.
    """
    snapshot = Snapshot(speaker)
    counting = Counting(speaker)
    routes = [
        *_shown(snapshot, counting, public=False),
        *Tail(snapshot).endpoints(),
        *Act(snapshot, reload).endpoints(),
    ]
    return Starlette(routes=routes, exception_handlers={Refused: refused})


def make_looking_glass(speaker: Speaker, rate: float = 0.0) -> ASGIApp:
    """The application for everybody: it only shows.

    Args:
        speaker: the daemon.
        rate: questions a second that a client may ask; 0: any number.
    """
    snapshot = Snapshot(speaker)
    app = Starlette(routes=_shown(snapshot, Counting(speaker), public=True), exception_handlers={Refused: refused})
    return Guard(app, rate)


def _shown(snapshot: Snapshot, counting: Counting, *, public: bool) -> list[Route]:
    return [
        Route("/", _page),
        *Look(snapshot, counting, public=public).endpoints(),
        *Flow(snapshot).endpoints(),
        *Birdwatcher(snapshot, counting).endpoints(),
    ]


async def _page(request: Request) -> Response:
    return HTMLResponse(PAGE, headers={"Content-Security-Policy": PAGE_POLICY})
