"""OpenAPI at request time: a document and handlers become an ASGI app. Generic: knows nothing of checkout sessions.

    from qashier_mock.pipeline import Call, Fault, Hooks, Reason, Refused, Reply, Transmit, create_pipeline

    create_pipeline(documents, handlers, hooks, *, pages=None, lifespan=None, max_body=2 MiB,
                    judge=None, timer=time.perf_counter) -> ASGI app

- documents: pairs of a document (mapping, path, `Document`) and its base paths, `[(path, ("", "/v3/payment/qpay"))]`.
- handlers: objects, modules or mappings with one `async def operation_id(call, **arguments) -> Reply` per operation.
  It begins without a task of its own; what needs one, as `asyncio.timeout` does, awaits `have_a_task()` first.
- hooks: see `Hooks`. pages: `{"/pay": asgi_app}`. lifespan: `() -> async context manager`.
- Served by `make_protocol(hooks)`: `uvicorn.Config(app, http=make_protocol(hooks), ws="none")`.

Names are resolved on first use, so that whoever needs a noun does not pay for the framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qashier_mock.pipeline.app import create_pipeline
    from qashier_mock.pipeline.beginning import have_a_task
    from qashier_mock.pipeline.document import Document, precompile
    from qashier_mock.pipeline.exchange import Call, Fault, Hooks, UnroutedRequest
    from qashier_mock.pipeline.garbage import collect_seldom, garbage_left, let_go
    from qashier_mock.pipeline.protocol import make_protocol
    from qashier_mock.pipeline.refusal import Reason, Refused
    from qashier_mock.pipeline.reply import Reply, Transmit
    from qashier_mock.pipeline.schemas import Unsupported
    from qashier_mock.pipeline.sending import Dropped

__all__ = [
    "Call",
    "Document",
    "Dropped",
    "Fault",
    "Hooks",
    "Reason",
    "Refused",
    "Reply",
    "Transmit",
    "UnroutedRequest",
    "Unsupported",
    "collect_seldom",
    "create_pipeline",
    "garbage_left",
    "have_a_task",
    "let_go",
    "make_protocol",
    "precompile",
]

_NAMES: Final = {
    "app": ("create_pipeline",),
    "beginning": ("have_a_task",),
    "document": ("Document", "precompile"),
    "exchange": ("Call", "Fault", "Hooks", "UnroutedRequest"),
    "garbage": ("collect_seldom", "garbage_left", "let_go"),
    "protocol": ("make_protocol",),
    "refusal": ("Reason", "Refused"),
    "reply": ("Reply", "Transmit"),
    "schemas": ("Unsupported",),
    "sending": ("Dropped",),
}
_MODULES: Final = {name: module for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value
