"""Pages from templates: compiled once, escaped by default, with a strict Content-Security-Policy.

The sources are read when an app is made, because a test may put another file system in the place of the machine's;
Jinja is imported when the first page is asked for, because many runs open none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from starlette.responses import Response

_HERE: Final = Path(__file__).parent


class Pages:
    """The pages of one folder of templates, with one style and perhaps one script.

    Args:
        folder: Below `templates`.
        style: Below `static`.
        script: Below `static`; None: the pages need none, and none is allowed.
        filters: What the templates may pass values through.
        referrer: Whom a page's requests tell where they come from: `no-referrer`, or `same-origin`, without which a
            browser hides the origin of a page's own forms.
    """

    def __init__(
        self,
        folder: str,
        style: str,
        script: str | None = None,
        *,
        filters: Mapping[str, Callable[..., Any]],
        referrer: str = "no-referrer",
    ) -> None:
        paths = (_HERE / "templates" / folder).glob("*.html")
        self._sources = {path.name: path.read_text(encoding="utf-8") for path in paths}
        self._style = (_HERE / "static" / style).read_text(encoding="utf-8")
        self._script = "" if script is None else (_HERE / "static" / script).read_text(encoding="utf-8")
        self._filters = filters
        self._referrer = referrer

    def render(self, template: str, status: HTTPStatus = HTTPStatus.OK, **values: object) -> Response:
        html: str = self._environment.get_template(template).render(values)
        return Response(html.encode(), status, self.headers, "text/html")

    def see_other(self, location: str) -> Response:
        """Lead on to another address, which is sent as it is given.

        Not Starlette's RedirectResponse, which rewrites characters that a URL of a shop may have (CRE-8).
        """
        return Response(status_code=HTTPStatus.SEE_OTHER, headers={**self.headers, "location": location})

    @cached_property
    def headers(self) -> Mapping[str, str]:
        """What goes with every page. There is no form-action: it would govern where a form's answer may lead, too."""
        allowed = ["default-src 'none'", f"style-src {_digest(self._style)}", "img-src data:"]
        if self._script:
            allowed += [f"script-src {_digest(self._script)}", "connect-src 'self'"]
        return {
            "content-security-policy": "; ".join([*allowed, "base-uri 'none'", "frame-ancestors 'none'"]),
            "cache-control": "no-store",
            "referrer-policy": self._referrer,
            "x-content-type-options": "nosniff",
            "x-robots-tag": "noindex, nofollow",
        }

    @cached_property
    def _environment(self) -> Any:
        import jinja2  # noqa: PLC0415 - the larger part of this module's cost, and many runs open no page
        import markupsafe  # noqa: PLC0415

        environment = jinja2.Environment(
            loader=jinja2.DictLoader(self._sources),
            autoescape=True,
            auto_reload=False,
            trim_blocks=True,
            lstrip_blocks=True,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters.update(self._filters)
        environment.globals["style"] = markupsafe.Markup(self._style)  # noqa: S704 - our own file
        environment.globals["script"] = markupsafe.Markup(self._script)  # noqa: S704 - our own file
        return environment


def _digest(text: str) -> str:
    import base64  # noqa: PLC0415 - with the first page
    import hashlib  # noqa: PLC0415

    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
