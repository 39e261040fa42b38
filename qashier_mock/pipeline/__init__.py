"""OpenAPI at request time: a document and handlers become an ASGI app. Generic: knows nothing of checkout sessions.

    create_pipeline(documents, handlers, hooks, *, pages=None, lifespan=None, max_body=2 MiB,
                    judge=None, timer=time.perf_counter) -> ASGI app

- documents: pairs of a document (mapping, path, `Document`) and its base paths, `[(path, ("", "/v3/payment/qpay"))]`.
- handlers: objects, modules or mappings with one `async def operation_id(call, **arguments) -> Reply` per operation.
  It begins without a task of its own; what needs one, as `asyncio.timeout` does, awaits `have_a_task()` first.
- hooks: see `Hooks`. pages: `{"/pay": asgi_app}`. lifespan: `() -> async context manager`.
- Served by `make_protocol(hooks)`: `uvicorn.Config(app, http=make_protocol(hooks), ws="none")`.

Whoever needs a noun (`exchange`, `refusal`, `reply`) does not pay for the framework.
"""
