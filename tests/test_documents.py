"""The OpenAPI documents: valid, strict, complete and read alike by every tool."""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from judgement import closed
from openapi_harness import (
    CONTROL,
    DOCUMENTS,
    JSON,
    METHODS,
    PUBLIC,
    bodies,
    both,
    examples,
    operations,
    reachable,
    resolved,
    schemas,
    valid_in_30,
    valid_in_31,
    walk,
)
from openapi_spec_validator import OpenAPIV30SpecValidator

from qashier_mock.pipeline.export import to_openapi31

CONTRACT = {
    f"{group}-{number}"
    for group, last in {
        "AUTH": 5, "HTTP": 6, "CRE": 19, "AMT": 7, "RET": 4, "LIS": 15,
        "EXP": 8, "PAY": 7, "CON": 2, "EVT": 8, "IDM": 9,
    }.items()
    for number in range(1, last + 1)
}  # fmt: skip

OPERATIONS = {
    "qashier": {
        "create_checkout_session",
        "list_checkout_sessions",
        "retrieve_checkout_session",
        "expire_checkout_session",
    },
    "control": {
        "get_health",
        "pay_session",
        "get_clock",
        "put_clock",
        "advance_clock",
        "list_events",
        "deliver_event",
        "list_webhook_endpoints",
        "create_webhook_endpoint",
        "delete_webhook_endpoint",
        "list_deliveries",
        "flush_deliveries",
        "list_faults",
        "create_fault",
        "delete_faults",
        "delete_fault",
        "list_requests",
        "list_advice",
        "get_settings",
        "put_settings",
        "reset_account",
        "get_snapshot",
        "put_snapshot",
    },
}

# What an answer may leave out, by schema. Everything else that is documented is always there.
OPTIONAL = {
    "ErrorDetail": {"param"},
    "Fault": {"operation", "webhook", "seconds", "status", "retry_after", "times", "probability"},
    "Snapshot": {"account"},
    "SnapshotSession": {"cancel_url"},
    "ProductData": {"description"},
}


@both
def test_documents_are_valid_openapi_30(name: str) -> None:
    OpenAPIV30SpecValidator(DOCUMENTS[name]).validate()
    assert DOCUMENTS[name]["openapi"] == "3.0.3"


@both
def test_the_operations_have_their_fixed_ids(name: str) -> None:
    found = [operation_id for operation_id, _ in operations(DOCUMENTS[name])]
    assert sorted(found) == sorted(OPERATIONS[name])


@both
def test_every_operation_and_body_has_examples(name: str) -> None:
    document = DOCUMENTS[name]
    media = [*bodies(document, of="requests"), *bodies(document, of="answers")]
    assert all(each.get("examples") for each in media)
    webhooks = document.get("x-webhooks", {})
    assert all(item["post"]["requestBody"]["content"]["application/json"]["examples"] for item in webhooks.values())


@both
def test_every_example_is_valid_in_30_and_in_31_by_two_engines(name: str) -> None:
    document = DOCUMENTS[name]
    exported = to_openapi31(document)
    old = list(examples(document))
    assert len(old) > 20
    assert [where for where, schema, value in old if not valid_in_30(document, schema, value)] == []
    new = list(examples(exported))
    assert [where for where, schema, value in new if not valid_in_31(exported, schema, value)] == []


@both
def test_what_an_example_spoils_is_refused_by_both_engines(name: str) -> None:
    """Each answer's example loses or gains a property: the closed view is complete, before and after export."""
    document = closed(DOCUMENTS[name])
    exported = to_openapi31(document)
    spoiled = 0
    for media in bodies(document, of="answers"):
        for example in media["examples"].values():
            value = resolved(document, example)["value"]
            changed = [{**value, "extra": 1}] + [{k: v for k, v in value.items() if k != gone} for gone in value]
            for each in changed:
                if set(value) - set(each) <= OPTIONAL.get(media["schema"]["$ref"].rpartition("/")[2], set()) and (
                    "extra" not in each
                ):
                    continue
                assert not valid_in_30(document, media["schema"], each)
                assert not valid_in_31(exported, media["schema"], each)
                spoiled += 1
    assert spoiled > 10


@both
def test_every_schema_compiles_as_draft_4(name: str) -> None:
    components = DOCUMENTS[name]["components"]
    for schema in components["schemas"]:
        jsonschema_rs.Draft4Validator({"$ref": f"#/components/schemas/{schema}", "components": components})


@both
def test_every_number_is_bounded(name: str) -> None:
    loose = [
        path
        for path, schema in schemas(DOCUMENTS[name])
        if schema["type"] in {"integer", "number"}
        and not {"minimum", "maximum"} <= schema.keys()
        and "enum" not in schema
    ]
    assert loose == []
    whole = [schema for _, schema in schemas(DOCUMENTS[name]) if schema["type"] == "integer"]
    assert all("maximum" in schema for schema in whole)


def test_totals_and_labels_are_bounded_by_what_they_are_made_of() -> None:
    known = PUBLIC["components"]["schemas"]
    line, product = known["LineItem"]["properties"], known["ProductData"]["properties"]
    most = known["UnitAmount"]["maximum"] * known["Quantity"]["maximum"]
    lines = known["CheckoutSessionCreate"]["properties"]["line_items"]["maxItems"]
    assert line["amount_total"]["maximum"] == most
    assert known["LineItemList"]["properties"]["data"]["maxItems"] == lines
    assert known["CheckoutSession"]["properties"]["amount_total"]["maximum"] == most * lines < 2**53
    assert line["description"]["maxLength"] == max(product[name]["maxLength"] for name in ("name", "description"))


@both
def test_every_operation_documents_400_and_401(name: str) -> None:
    for operation_id, operation in operations(DOCUMENTS[name]):
        assert "400" in operation["responses"], operation_id
        assert ("401" in operation["responses"]) == (operation.get("security") != []), operation_id


def test_only_health_needs_no_key() -> None:
    assert [o for name in DOCUMENTS for o, each in operations(DOCUMENTS[name]) if "security" in each] == ["get_health"]
    assert all(document["security"] == [{"basic": []}, {"bearer": []}] for document in DOCUMENTS.values())


@both
def test_every_answer_names_its_request_and_its_refusals_share_one_envelope(name: str) -> None:
    document = DOCUMENTS[name]
    also = {"401": "WWW-Authenticate", "405": "Allow", "429": "Retry-After"}
    for operation_id, operation in operations(document):
        for status, reference in operation["responses"].items():
            response = resolved(document, reference)
            for header in {"Request-Id", also.get(status, "Request-Id")}:
                assert resolved(document, response["headers"][header])["required"] is True, (operation_id, status)
            if status >= "400":
                envelope = response["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
                assert envelope in {"ErrorEnvelope", "IdTakenError"}, (operation_id, status)


@both
def test_answers_are_open_and_complete(name: str) -> None:
    """Generated Go and Java takes a property that is added later only where the document says so."""
    document = DOCUMENTS[name]
    sent = {schema for media in bodies(document, of="requests") for schema, _ in reachable(document, media["schema"])}
    seen = 0
    for media in bodies(document, of="answers"):
        for component, schema in reachable(document, media["schema"]):
            if schema.get("type") == "object":
                is_open = schema.get("additionalProperties") is True
                assert is_open or "allOf" in schema or component in sent, component
                if component not in {"LineItemCreate", "PriceData"}:
                    missing = set(schema["properties"]) - set(schema["required"])
                    assert missing == OPTIONAL.get(component, set()), component
                seen += 1
    assert seen > 5


def test_a_session_of_another_service_fits_the_public_document() -> None:
    """Ids, pages and currencies are the service's own, and it may add properties: only the mock promises more."""
    session = copy.deepcopy(PUBLIC["components"]["examples"]["CompleteSession"]["value"])
    session.update(id="cs_live_9-f.3~", url="https://pay.qashier.example/c/9f3?x=1#now", currency="XBT", refunds=[])
    session["line_items"].update(url="/lines")
    session["line_items"]["data"][0].update(id="li_1", currency="XBT")
    event = copy.deepcopy(PUBLIC["components"]["examples"]["CompletedEvent"]["value"])
    event.update(id="evt_9-f", account="12345", api_version="2.1.0", livemode=True)
    event["data"].update(object=session, previous={})
    error = {"error": {"type": "card_error", "code": "declined", "message": "No.", "doc_url": "https://a.example"}}
    exported = to_openapi31(PUBLIC)
    for schema, value in {
        "CheckoutSession": session,
        "CheckoutSessionCompletedEvent": event,
        "ErrorEnvelope": error,
    }.items():
        reference = {"$ref": f"#/components/schemas/{schema}"}
        assert valid_in_30(PUBLIC, reference, value), schema
        assert valid_in_31(exported, reference, value), schema
        assert not valid_in_30(closed(PUBLIC), reference, value), schema


def test_nothing_of_the_mocks_own_stands_in_the_public_document() -> None:
    forms = [schema["pattern"] for _, schema in schemas(PUBLIC) if "pattern" in schema]
    assert not [form for form in forms if "cs_" in form or "/pay/" in form or "acct_" in form]
    assert "Mock" not in str({**PUBLIC, "servers": []})


def alternatives(document: JSON, schema: JSON) -> list[JSON]:
    found = resolved(document, schema)
    return [resolved(document, each) for each in found["anyOf"]] if "anyOf" in found else [found]


def test_requests_of_the_api_are_open_and_those_of_the_control_api_closed() -> None:
    for media in bodies(PUBLIC, of="requests"):
        assert all("additionalProperties" not in schema for _, schema in reachable(PUBLIC, media["schema"]))
    for media in bodies(CONTROL, of="requests"):
        for schema in alternatives(CONTROL, media["schema"]):
            assert schema["additionalProperties"] is False


def test_examples_of_requests_send_only_fields_that_exist() -> None:
    def unknown(schema: JSON, value: Any, path: str) -> Iterator[str]:
        schema = resolved(PUBLIC, schema)
        if isinstance(value, dict):
            for key, each in value.items():
                if key not in schema["properties"]:
                    yield f"{path}.{key}"
                else:
                    yield from unknown(schema["properties"][key], each, f"{path}.{key}")
        elif isinstance(value, list):
            for each in value:
                yield from unknown(schema["items"], each, f"{path}[]")

    for media in bodies(PUBLIC, of="requests"):
        for name, example in media["examples"].items():
            assert list(unknown(media["schema"], example["value"], name)) == []


@both
def test_an_id_in_a_request_has_no_form(name: str) -> None:
    document = DOCUMENTS[name]
    ids = {"id", "starting_after", "ending_before", "session"}
    found = [
        resolved(document, parameter)["schema"]
        for _, operation in operations(document)
        for parameter in operation.get("parameters", [])
        if resolved(document, parameter)["name"] in ids
    ]
    assert found
    assert all(schema == {"type": "string"} for schema in found)


@both
def test_parameters_stand_at_their_operation_and_have_one_scalar_type(name: str) -> None:
    document = DOCUMENTS[name]
    assert all(not item.keys() - METHODS for item in document["paths"].values())
    for _, operation in operations(document):
        for parameter in operation.get("parameters", []):
            assert isinstance(resolved(document, resolved(document, parameter)["schema"])["type"], str)


def test_every_clause_of_the_contract_stands_somewhere() -> None:
    named = {clause for _, node in walk(PUBLIC) for clause in node.get("x-clauses", ())}
    assert named == CONTRACT
    assert {clause for _, node in walk(CONTROL) for clause in node.get("x-clauses", ())} <= CONTRACT


def test_every_part_of_the_contract_names_its_clauses_once() -> None:
    parts = [operation for _, operation in operations(PUBLIC)]
    parts += [item["post"] for item in PUBLIC["x-webhooks"].values()]
    parts += [
        part
        for section in ("schemas", "parameters", "securitySchemes")
        for part in PUBLIC["components"][section].values()
    ]
    assert all(part["x-clauses"] for part in parts)
    assert all(len(set(part["x-clauses"])) == len(part["x-clauses"]) for part in parts)


def test_currencies_are_the_active_ones_sorted_and_stand_in_one_place() -> None:
    codes = PUBLIC["components"]["schemas"]["CurrencyCode"]["enum"]
    assert codes == sorted(set(codes))
    assert all(re.fullmatch("[A-Z]{3}", code) for code in codes)
    assert {"SGD", "MYR", "PHP", "JPY", "KWD", "CLF", "XCG", "XAD", "ZWG", "SLE", "VED", "XXX"} <= set(codes)
    assert not {"BGN", "ANG", "HRK", "ZWL", "SLL", "CUC", "DEM", "VEF", "STD", "MRO", "BYR"} & set(codes)
    for document in DOCUMENTS.values():
        assert sum("SGD" in schema.get("enum", ()) for _, schema in schemas(document)) == 1


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example",
        "HTTP://A",
        "http://localhost:8000/thanks?session={ID}#done",
        "https://shop.example?x=1",
        "https://a-b.c/%20[1]",
        "http://a/" + "x" * 2039,
        "https://" + "a" * 253 + ":65535/",
    ],
)  # fmt: skip
def test_a_url_of_the_shop_is_accepted(url: str) -> None:
    schema = PUBLIC["components"]["schemas"]["RedirectUrl"]
    assert valid_in_30(PUBLIC, schema, url)
    assert jsonschema_rs.Draft4Validator(schema).is_valid(url)


@pytest.mark.parametrize(
    "url",
    [
        "", "shop.example", "/thanks", "//shop.example", "javascript:alert(1)", "ftp://shop.example", "https://",
        "https:///thanks", "https://user@shop.example", "https://shop.example/a b", "https://shop.example\\a",
        "https://[::1]/", "https://-a", "https://a-", "https://shop.exämple", "https://shop.example:123456",
        "http://a/" + "x" * 2040, "https://" + "a" * 254, " https://shop.example", "https://shop.example/\x00",
    ],
)  # fmt: skip
def test_what_is_no_url_of_the_shop_is_refused(url: str) -> None:
    schema = PUBLIC["components"]["schemas"]["RedirectUrl"]
    assert not valid_in_30(PUBLIC, schema, url)
    assert not jsonschema_rs.Draft4Validator(schema).is_valid(url)


def test_a_webhook_url_reaches_where_webhooks_go_in_development() -> None:
    judge = jsonschema_rs.Draft4Validator(CONTROL["components"]["schemas"]["WebhookUrl"])
    for url in ("http://[::1]:9/", "http://web_app:8000/hook", "https://127.0.0.1:65535/x?y#z", "http://a:1"):
        assert judge.is_valid(url), url
    for url in ("http://[", "http://[::::]/", "http://u:p@a/", "http://a:0/", "http://a:65536/", "http://a:/", "a:1"):
        assert not judge.is_valid(url), url


def test_a_fault_rule_is_about_calls_or_about_webhooks() -> None:
    document = DOCUMENTS["control"]
    schema = document["components"]["schemas"]["FaultCreate"]
    right: list[JSON] = [
        {"operation": "*", "action": "drop"},
        {"operation": "create_checkout_session", "action": "lose_answer", "times": 1},
        {"operation": "*", "action": "delay", "seconds": 0.5, "probability": 0.1},
        {"operation": "*", "action": "status", "status": 503},
        {"webhook": "*", "action": "drop"},
        {"webhook": "checkout.session.expired", "action": "delay", "seconds": 60},
        {"webhook": "*", "action": "bad_signature", "times": 2},
    ]
    wrong: list[JSON] = [
        {},
        {"action": "drop"},
        {"operation": "*"},
        {"operation": "*", "webhook": "*", "action": "drop"},
        {"operation": "*", "action": "duplicate"},
        {"operation": "*", "action": "delay"},
        {"operation": "*", "action": "status"},
        {"operation": "*", "action": "status", "status": 200},
        {"operation": "pay_session", "action": "drop"},
        {"webhook": "*", "action": "lose_answer"},
        {"webhook": "*", "action": "delay"},
        {"webhook": "*", "action": "drop", "times": 0},
        {"webhook": "*", "action": "drop", "probability": 1.5},
        {"webhook": "*", "action": "drop", "odds": 1},
    ]
    assert all(valid_in_30(document, schema, each) for each in right)
    assert [each for each in wrong if valid_in_30(document, schema, each)] == []


def test_a_secret_goes_in_and_never_comes_out() -> None:
    document = DOCUMENTS["control"]
    assert document["components"]["schemas"]["WebhookEndpointCreate"]["properties"]["secret"]["writeOnly"] is True
    for media in bodies(document, of="answers"):
        assert all("secret" not in schema.get("properties", {}) for _, schema in reachable(document, media["schema"]))


def test_there_is_a_webhook_for_each_type_of_event_and_it_can_be_signed() -> None:
    webhooks = PUBLIC["x-webhooks"]
    assert sorted(webhooks) == sorted(PUBLIC["components"]["schemas"]["EventType"]["enum"])
    for kind, item in webhooks.items():
        assert [resolved(PUBLIC, parameter)["name"] for parameter in item["post"]["parameters"]] == ["x-qashier-sign"]
        schema = item["post"]["requestBody"]["content"]["application/json"]["schema"]
        for example in ("CompletedEvent", "ExpiredEvent"):
            event = PUBLIC["components"]["examples"][example]["value"]
            assert valid_in_30(PUBLIC, schema, event) == (event["type"] == kind)


def test_webhooks_have_a_tag_and_named_schemas_of_their_own() -> None:
    """A generator writes one file for each tag: webhooks under the API's tag would overwrite the API's methods."""
    for document, hooks in ((PUBLIC, "x-webhooks"), (to_openapi31(PUBLIC), "webhooks")):
        tags = {tag for item in document["paths"].values() for operation in item.values() for tag in operation["tags"]}
        for item in document[hooks].values():
            assert not tags & set(item["post"]["tags"])
            [media] = item["post"]["requestBody"]["content"].values()
            assert set(media["schema"]) == {"$ref"}


def test_the_event_of_a_type_is_the_general_event_and_says_its_type() -> None:
    for name in ("CheckoutSessionCompletedEvent", "CheckoutSessionExpiredEvent"):
        schema = PUBLIC["components"]["schemas"][name]
        assert schema["allOf"] == [{"$ref": "#/components/schemas/CheckoutEvent"}]
        assert schema["properties"].keys() == {"type"}


def test_links_lead_to_operations_and_none_leaves_the_list() -> None:
    linked = {}
    for operation_id, operation in operations(PUBLIC):
        links = operation["responses"]["200"].get("links", {})
        linked[operation_id] = {resolved(PUBLIC, link)["operationId"] for link in links.values()}
    onward = {"retrieve_checkout_session", "expire_checkout_session", "list_checkout_sessions"}
    assert linked.pop("list_checkout_sessions") == set()
    assert all(targets == onward for targets in linked.values())


@both
def test_connexion_loads_the_documents_and_serves_their_operations(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # importing Connexion warns of its own dependencies
        import connexion  # noqa: PLC0415
        from connexion.resolver import Resolver  # noqa: PLC0415
    resolved_ids: set[str] = set()

    async def handler() -> tuple[JSON, int]:
        return {}, 200

    def function(operation_id: str) -> Any:
        resolved_ids.add(operation_id)
        return handler

    app = connexion.AsyncApp(__name__)
    app.add_api(copy.deepcopy(DOCUMENTS[name]), base_path="/", resolver=Resolver(function_resolver=function))
    with app.test_client() as client:
        assert client.get("/nowhere").status_code == 404
    assert resolved_ids == OPERATIONS[name]


def test_schemathesis_loads_the_public_document_with_its_links() -> None:
    import schemathesis  # noqa: PLC0415 - slow to import
    from schemathesis.core.result import Ok  # noqa: PLC0415 - slow to import

    schema = schemathesis.openapi.from_dict(copy.deepcopy(PUBLIC))
    found = [operation.ok() for operation in schema.get_all_operations() if isinstance(operation, Ok)]
    labels = {operation.label for operation in found}
    assert labels == {f"{m.upper()} {path}" for path, item in PUBLIC["paths"].items() for m in item}
    assert schema.statistic.transitions.total == 12
