"""OpenAPI at request time: a document and handlers become an ASGI app. Generic: knows nothing of checkout sessions.

`create_pipeline` in `app` makes it, and `uvicorn.Config(app, http=make_protocol(hooks), ws="none")` serves it. Whoever
needs a noun (`exchange`, `refusal`, `reply`) does not pay for the framework.
"""
