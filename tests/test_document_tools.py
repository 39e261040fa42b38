"""What tools and generators trip over, which the documents therefore do without; and examples that can all be sent."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from openapi_harness import CONTROL, DOCUMENTS, JSON, OPENAPI, PUBLIC, both, examples, operations, resolved, schemas

if TYPE_CHECKING:
    from mock_harness import Client

BUILT_IN = {
    "Array", "Boolean", "Character", "Class", "Currency", "Date", "Enum", "Error", "Event", "Exception", "File",
    "Function", "Integer", "List", "Locale", "Long", "Map", "Module", "Number", "Object", "Optional", "Process",
    "Promise", "Record", "Request", "Response", "Set", "String", "Symbol", "System", "Thread", "Type", "UUID", "Void",
}  # fmt: skip
"""Names that a language has already, for which generators of it write another name or code that does not compile."""
RUNTIME = {
    "ApiClient", "ApiError", "ApiException", "ApiResponse", "Client", "Configuration", "HeaderSelector", "JSON",
    "Middleware", "ModelInterface", "ObjectSerializer", "Pair", "RequiredError", "ServerConfiguration",
}  # fmt: skip
"""Names of classes that generators write into every client."""


@pytest.mark.parametrize("file", ["qashier.yaml", "control.yaml"])
def test_no_anchor_stands_in_a_file(file: str) -> None:
    """Specmatic refuses a file with anchors inside examples."""
    events = yaml.parse((OPENAPI / file).read_text("utf-8"))
    anchors = [getattr(event, "anchor", None) for event in events]
    assert [anchor for anchor in anchors if anchor] == []


@both
def test_no_component_has_the_name_of_another_or_of_a_languages_own(name: str) -> None:
    sections = DOCUMENTS[name]["components"]
    named = Counter(component.lower() for section in sections.values() for component in section)
    assert [component for component, times in named.items() if times > 1] == []
    assert not (BUILT_IN | RUNTIME) & set(sections["schemas"])


@both
def test_every_object_schema_has_a_name(name: str) -> None:
    """Generators make up names such as `EventAllOfDataObject` for the others, and make them up differently."""
    place = re.compile("/components/schemas/[A-Za-z]+")
    assert [
        path for path, schema in schemas(DOCUMENTS[name]) if schema["type"] == "object" and not place.fullmatch(path)
    ] == []


@both
def test_no_two_enums_share_a_member(name: str) -> None:
    """Generated Go has the members of all named enums in one scope."""
    members = Counter(
        re.sub("[^a-z0-9]+", "_", value.lower())
        for schema in DOCUMENTS[name]["components"]["schemas"].values()
        for value in schema.get("enum", ())
        if isinstance(value, str)
    )
    assert [member for member, times in members.items() if times > 1 or not member.strip("_")] == []


@both
def test_parameters_are_scalars_of_the_plain_style(name: str) -> None:
    """Half of the generators cannot send the style deepObject."""
    for _, operation in operations(DOCUMENTS[name]):
        for reference in operation.get("parameters", ()):
            parameter = resolved(DOCUMENTS[name], reference)
            assert not {"style", "explode", "content"} & parameter.keys(), parameter["name"]
            assert resolved(DOCUMENTS[name], parameter["schema"])["type"] in {"string", "integer"}


def test_the_interval_of_creation_is_four_parameters() -> None:
    [listing] = [
        operation for operation_id, operation in operations(PUBLIC) if operation_id == "list_checkout_sessions"
    ]
    names = {resolved(PUBLIC, reference)["name"] for reference in listing["parameters"]}
    assert {f"created[{bound}]" for bound in ("gt", "gte", "lt", "lte")} <= names


def examples_of(document: JSON, operation: JSON) -> tuple[dict[str, set[str]], set[str], set[str]]:
    """The names of the examples of each parameter, of the body, and of the success."""
    parameters = {
        (parameter := resolved(document, reference))["name"]: set(parameter.get("examples", ()))
        for reference in operation.get("parameters", ())
    }
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("examples", {})
    [success] = [response for status, response in operation["responses"].items() if status < "300"]
    answered = resolved(document, success).get("content", {}).get("application/json", {}).get("examples", {})
    return parameters, set(sent), set(answered)


@both
def test_the_examples_of_a_request_and_of_its_answer_pair_by_name(name: str) -> None:
    for operation_id, operation in operations(DOCUMENTS[name]):
        parameters, sent, answered = examples_of(DOCUMENTS[name], operation)
        if sent:
            assert sent == answered, operation_id
        for parameter, named in parameters.items():
            assert named <= answered, (operation_id, parameter)


def test_each_act_has_an_idempotency_key_of_its_own_among_the_examples() -> None:
    """With one key for both POSTs, expire repeats the answer of create and expires nothing."""
    keys = [
        example["value"]
        for _, operation in operations(PUBLIC)
        for reference in operation["parameters"]
        if (parameter := resolved(PUBLIC, reference))["name"] == "Idempotency-Key"
        for example in parameter["examples"].values()
    ]
    assert len(keys) == len(set(keys)) == 4


def test_no_cursor_has_an_example() -> None:
    """Both at once are refused, and so is one that names no session."""
    for _, operation in operations(PUBLIC):
        for reference in operation["parameters"]:
            parameter = resolved(PUBLIC, reference)
            if parameter["name"] in {"starting_after", "ending_before"}:
                assert not {"example", "examples"} & parameter.keys()


# -- sent to the mock, in the account of `serve --data examples` -------------------------------------------------------


def requests_of(document: JSON) -> Iterator[tuple[str, str, str, dict[str, str], Any]]:
    """The request of each example of each operation: name, method, target, headers, body."""
    for path, item in document["paths"].items():
        for method, operation in item.items():
            parameters = [resolved(document, reference) for reference in operation.get("parameters", ())]
            _, sent, answered = examples_of(document, operation)
            media = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
            for name in sorted(sent or answered or {""}):
                target, query = path, []
                headers: dict[str, str] = {}
                for parameter in parameters:
                    values = {key: each["value"] for key, each in parameter.get("examples", {}).items()}
                    if name not in values and "example" not in parameter:
                        continue
                    value = str(values.get(name, parameter.get("example")))
                    if parameter["in"] == "path":
                        target = target.replace("{" + parameter["name"] + "}", value)
                    elif parameter["in"] == "query":
                        query.append(f"{parameter['name']}={value}")
                    else:
                        headers[parameter["name"]] = value
                target += "?" + "&".join(query) if query else ""
                body = resolved(document, media["examples"][name])["value"] if sent else None
                yield f"{operation['operationId']}: {name}", method.upper(), target, headers, body


REQUESTS = list(requests_of(PUBLIC))
EXAMPLE_ACCOUNT = CONTROL["components"]["examples"]["ExampleAccount"]["value"]


def ids_in(value: Any) -> set[str]:
    return set(re.findall(r"(?:cs_test|evt|we|flt|dlv)_[0-9A-Za-z]{24}", json.dumps(value)))


@pytest.fixture
def example_client(make_client: Callable[..., Client]) -> Client:
    client = make_client()
    assert client.send("PUT", "/_mock/v1/snapshot", EXAMPLE_ACCOUNT).status == 200
    return client


def test_every_id_of_an_example_exists_in_the_example_account() -> None:
    stored = ids_in(EXAMPLE_ACCOUNT)
    for name, document in DOCUMENTS.items():
        for where, _, value in examples(document):
            assert ids_in(value) <= stored, (name, where)


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in reverse"])
def test_every_example_of_the_api_succeeds_however_often_it_is_sent(example_client: Client, order: int) -> None:
    for _ in range(2):
        for name, method, target, headers, body in REQUESTS[::order]:
            answer = example_client.send(method, target, body, headers=headers)
            assert answer.status == 200, (name, answer.body)


def test_the_answers_to_the_examples_are_the_examples(example_client: Client) -> None:
    """Ids and times of a new session aside."""
    answers = {operation_id: operation["responses"]["200"] for operation_id, operation in operations(PUBLIC)}
    own = {"id", "url", "created", "expires_at"}
    for name, method, target, headers, body in REQUESTS:
        operation_id, _, example = name.partition(": ")
        promised = resolved(PUBLIC, answers[operation_id]["content"]["application/json"]["examples"][example])["value"]
        seen = example_client.send(method, target, body, headers=headers).json()
        if operation_id == "create_checkout_session":
            assert {key: seen[key] for key in seen.keys() - own} == {
                key: promised[key] for key in promised.keys() - own
            }
        else:
            assert seen == promised, name


def test_the_examples_that_name_no_session_succeed_in_an_account_that_has_nothing(
    make_client: Callable[..., Client],
) -> None:
    client = make_client()
    for name, method, target, headers, body in REQUESTS:
        if "cs_test_" not in target:
            assert client.send(method, target, body, headers=headers).status == 200, name


def test_every_example_of_the_control_api_succeeds_in_order(example_client: Client) -> None:
    for name, method, target, headers, body in requests_of(DOCUMENTS["control"]):
        answer = example_client.send(method, target, body, headers=headers)
        assert answer.status < 300, (name, answer.body)
