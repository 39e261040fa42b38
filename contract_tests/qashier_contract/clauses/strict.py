"""To which clause a failed check of the strict document belongs.

Our own mock must answer exactly as `qashier.yaml` says. Schemathesis checks that, and names its checks; the contract
names clauses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from qashier_contract.history import Exchange, Operation

_OF_OPERATION: Final[Mapping[Operation, str]] = {
    Operation.CREATE: "CRE-1",
    Operation.RETRIEVE: "RET-1",
    Operation.LIST: "LIS-1",
    Operation.EXPIRE: "EXP-1",
    Operation.OTHER: "HTTP-4",
}
_OF_REFUSAL: Final[Mapping[Operation, str]] = {Operation.CREATE: "CRE-18", Operation.LIST: "LIS-2"}
_OF_CHECK: Final[Mapping[str, str]] = {
    "not_a_server_error": "HTTP-6",
    "status_code_conformance": "HTTP-3",
    "content_type_conformance": "HTTP-2",
    "response_headers_conformance": "HTTP-1",
    "missing_required_header": "AUTH-1",
    "ignored_auth": "AUTH-4",
    "object_level_authorization": "AUTH-5",
    "unsupported_method": "HTTP-4",
    "allow_header_conformance": "HTTP-4",
    "use_after_free": "RET-2",
    "ensure_resource_availability": "RET-1",
}


def clause_of(check: str, exchange: Exchange) -> str:
    """The clause that a check of Schemathesis belongs to, for the exchange that failed it."""
    if check in _OF_CHECK:
        return _OF_CHECK[check]
    if exchange.reply is None:
        return "HTTP-6"
    if check == "negative_data_rejection":
        return _OF_REFUSAL.get(exchange.operation, "HTTP-3")
    if check == "response_schema_conformance" and not exchange.succeeded:
        return "HTTP-3"
    return _OF_OPERATION.get(exchange.operation, "HTTP-3")
