"""The inspector at `/_mock/`: what happens on this server, for the developer who runs it.

Server-rendered pages that work without scripts; a script of ours keeps them up to date. Whatever a page does is a form
that is posted.
"""

from __future__ import annotations

from functools import partial

from starlette.routing import Route, Router
from starlette.types import ASGIApp

from qashier_mock.web.inspector.acts import Acts
from qashier_mock.web.inspector.door import Door, Handler
from qashier_mock.web.inspector.parts import PREFIX, InspectorParts
from qashier_mock.web.inspector.views import Views

__all__ = ["InspectorParts", "create_inspector"]


def create_inspector(parts: InspectorParts) -> ASGIApp:
    """Make the application that serves everything below `/_mock/` but the control API."""
    views, acts, accounts = Views(parts), Acts(parts), parts.accounts
    newest = partial(views.listing, newest_first=True)
    below = f"{PREFIX}/accounts/{{account}}"
    routes: list[tuple[str, Handler | None, Handler | None]] = [
        (f"{PREFIX}/", views.show_accounts, None),
        (f"{PREFIX}/accounts", None, acts.find_account),
        (f"{PREFIX}/live", views.stream, None),
        (below, views.show_sessions, None),
        (f"{below}/events", newest("events.html", "events", accounts.events), None),
        (f"{below}/deliveries", newest("deliveries.html", "attempts", accounts.attempts), acts.flush),
        (f"{below}/requests", newest("requests.html", "entries", accounts.journal), None),
        (f"{below}/advice", views.listing("advice.html", "notes", accounts.advice), None),
        (f"{below}/faults", views.listing("faults.html", "rules", accounts.faults), acts.add_fault),
        (f"{below}/faults/remove", None, acts.remove_fault),
        (f"{below}/endpoints", views.listing("endpoints.html", "endpoints", accounts.endpoints), acts.add_endpoint),
        (f"{below}/endpoints/remove", None, acts.remove_endpoint),
        (f"{below}/clock", None, acts.move_clock),
        (f"{below}/sessions", None, acts.make_sample),
        (f"{below}/sessions/{{session}}", views.show_session, acts.act),
        (f"{below}/events/{{event}}/resend", None, acts.resend),
    ]
    return Router(
        [
            Route("/", Door(parts, views.to_front, None)),
            Route(PREFIX, Door(parts, views.to_front, None)),
            *(Route(path, Door(parts, get, post)) for path, get, post in routes),
        ],
        default=Door(parts, None, None),
        redirect_slashes=False,
    )
