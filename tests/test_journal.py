"""The journal's entries: what of them may be shown."""

from __future__ import annotations

import base64
import json

import pytest

from qashier_mock.core.journal import JournalEntry, redacted

KEYS = [b"sk_test_abc", b"sk_live_4eC39HqLyjWDarjtT1zdp7dc"]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"user:"])
@pytest.mark.parametrize("altchars", [b"+/", b"-_"])
def test_a_key_in_base64_is_blotted_out_wherever_it_stands(key: bytes, before: bytes, altchars: bytes) -> None:
    encoded = base64.b64encode(before + key + b":", altchars)
    content = redacted(b'{"note":"Basic ' + encoded + b'","next":1}')
    assert json.loads(content)["next"] == 1
    shown = json.loads(content)["note"].removeprefix("Basic ").removesuffix("***")
    assert len(base64.b64decode(shown + "A" * (-len(shown) % 4))) <= len(before) + 3


def test_an_entry_shows_no_key_once_it_is_redacted_and_in_no_traceback() -> None:
    key = KEYS[0]
    entry = JournalEntry(
        "req_1", "create_thing", "POST", b"/a?k=" + key, 200, 1, 0.5, key.decode(), b'"' + key + b'"',
        base64.b64encode(key),
    )  # fmt: skip
    shown = entry.redacted()
    assert not any(b"abc" in part or base64.b64encode(b"abc") in part for part in shown if isinstance(part, bytes))
    assert shown.idempotency_key == "sk_test_***"
    assert "abc" not in repr(entry)
    assert shown.redacted() == shown
