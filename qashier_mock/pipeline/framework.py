"""Connexion, imported in one place.

Importing it raises deprecation warnings about its own dependencies. They concern nobody who uses this project, and
would end the test run of anyone whose pytest turns warnings into errors: they are silenced for the time of the import.
"""

from __future__ import annotations

import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from connexion.exceptions import InvalidSpecification, ResolverError
    from connexion.http_facts import METHODS
    from connexion.json_schema import resolve_refs
    from connexion.middleware import ConnexionMiddleware
    from connexion.middleware.abstract import SpecMiddleware
    from connexion.middleware.lifespan import LifespanMiddleware
    from connexion.operations import OpenAPIOperation
    from connexion.resolver import Resolver
    from connexion.spec import OpenAPISpecification

__all__ = [
    "METHODS",
    "ConnexionMiddleware",
    "InvalidSpecification",
    "LifespanMiddleware",
    "OpenAPIOperation",
    "OpenAPISpecification",
    "Resolver",
    "ResolverError",
    "SpecMiddleware",
    "resolve_refs",
]
