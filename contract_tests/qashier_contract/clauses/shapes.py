"""Shapes of the document as findings: one for each place where an answer leaves its shape."""

from __future__ import annotations

from qashier_contract.document import shape_errors
from qashier_contract.findings import Finding, HasShape, OneOf, expect
from qashier_contract.history import Delivery, Exchange
from qashier_contract.places import At, Part, Step
from qashier_contract.values import Json


def misshapen(
    message: Exchange | Delivery, schema: str, value: Json, *, prefix: tuple[Step, ...] = ()
) -> list[Finding]:
    """The places where a value, which stands at `prefix` of a message's body, leaves the relaxed shape of a schema."""
    found = []
    for error in shape_errors(schema, value):
        at = At(message, Part.BODY, (*prefix, *error.path))
        if error.rule == "enum":
            found.append(expect(OneOf(at, tuple(error.wanted)), f"{schema} names these"))
        else:
            found.append(expect(HasShape(at, error.wanted), f"{schema} has it"))
    return found
