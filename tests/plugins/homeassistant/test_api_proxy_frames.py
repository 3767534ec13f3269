"""What add-ons may say to Core through the proxied WebSocket: nothing that Core could take for a supervisor's word."""

from __future__ import annotations

import codecs
import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rooftree_homeassistant.api_proxy_frames import MessageRefused, Sifted, read_object, refuse_bytes, sift, sifted

UNAUTHORIZED = {"code": "unauthorized", "message": "Commands of the supervisor are not for add-ons"}
INVALID = {
    "code": "invalid_format",
    "message": "A command has an id, which is a whole number, and a type, which is a text",
}


def refused(number: int | None, error: dict[str, str] = UNAUTHORIZED) -> dict[str, Any]:
    """How somebody is answered who asks for more than is theirs."""
    return {"id": number, "type": "result", "success": False, "error": error}


@pytest.mark.parametrize(
    "text",
    [
        '{"id": 1, "type": "get_states"}',
        '{"id":2,"type":"call_service","service_data":{"type":"supervisor/api","a":1.50,"n":123456789012345678901234567890}}',
        ' {"id": 3, "type": "supervisors/api"}',
        '[{"id": 1, "type": "ping"}, {"id": 2, "type": "get_config"}]',
        '{"id": 1, "type": "render_template", "template": "{{ \\u0041 \\ud83d\\ude00 }}", "a": {"b": 1, "b": 2}}',
    ],
)
def test_what_is_not_the_supervisors_goes_on_as_it_came(text: str) -> None:
    assert sift(text) == Sifted(text)


@pytest.mark.parametrize(
    "kind",
    [
        "supervisor/api",
        "supervisor/event",
        "supervisor/subscribe",
        "hassio/update/addon",
        "Supervisor/api",
        " supervisor/api",
        "supervisor/",
        "\\u0073upervisor\\u002fapi",
        "HASSIO\\/x",
    ],
)
def test_what_is_the_supervisors_is_answered_in_cores_place(kind: str) -> None:
    assert sift(f'{{"id": 7, "type": "{kind}", "endpoint": "/addons"}}') == Sifted(None, (refused(7),))
    assert sift(f'{{"\\u0074ype": "{kind}", "id": 7}}') == Sifted(None, (refused(7),))


def test_of_several_commands_those_go_on_that_may() -> None:
    text = (
        '[{"id": 1, "type": "ping"}, {"id": 2, "type": "hassio/x"}, {"id": 3, "type": "ping", "a": 1.5}, {"id": "4"}]'
    )

    outcome = sift(text)

    assert json.loads(outcome.forwarded or "") == [{"id": 1, "type": "ping"}, {"id": 3, "type": "ping", "a": 1.5}]
    assert outcome.answers == (refused(2), refused(None, INVALID))
    assert sift('[{"id": 1, "type": "hassio/"}]') == Sifted(None, (refused(1),))
    assert sift("[]") == Sifted(None)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("{}", None),
        ('{"type": "ping"}', None),
        ('{"id": true, "type": "ping"}', None),
        ('{"id": "1", "type": "ping"}', None),
        ('{"id": 1}', 1),
        ('{"id": 1, "type": null}', 1),
        ('{"id": 1, "type": ["supervisor/api"]}', 1),
    ],
)
def test_what_is_no_command_is_answered_as_core_does(text: str, number: int | None) -> None:
    assert sift(text) == Sifted(None, (refused(number, INVALID),))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "supervisor/api",
        '{"id": 1, "type": "supervisor/api"',
        '\ufeff{"id": 1, "type": "supervisor/api"}',
        '{"id": 1, "type": "ping", "type": "supervisor/api"}',
        '{"id": 1, "type": "supervisor/api", "type": "ping"}',
        '{"id": 1, "type": "ping", "\\u0074ype": "supervisor/api"}',
        '[{"id": 1, "type": "ping"}, {"id": 2, "id": 3, "type": "ping"}]',
        '{"id": 1, "type": "ping"}{"id": 2, "type": "supervisor/api"}',
        '{"id": 1, "type": "ping"} \x00',
        '{"id": NaN, "type": "ping"}',
        '"supervisor/api"',
        "1",
        "null",
        '[[{"id": 1, "type": "supervisor/api"}]]',
        "[" * 100_000,
        '{"id": ' + "9" * 5000 + ', "type": "ping"}',
    ],
)
def test_what_cannot_be_understood_does_not_go_on(text: str) -> None:
    with pytest.raises(MessageRefused):
        sift(text)


COMMAND = '{"id": 1, "type": "supervisor/api"}'


@pytest.mark.parametrize(
    "data",
    [
        b"",
        COMMAND.encode(),
        b"  \r\n\t" + COMMAND.encode(),
        codecs.BOM_UTF8 + COMMAND.encode(),
        COMMAND.encode("utf-16"),
        COMMAND.encode("utf-16-be"),
        codecs.BOM_UTF16_BE + COMMAND.encode("utf-16-be"),
        COMMAND.encode("utf-32"),
        COMMAND.encode("utf-32-be"),
        f"[{COMMAND}]".encode(),
        b"\x00\x00",
    ],
)
def test_bytes_that_may_be_read_as_a_command_do_not_go_on(data: bytes) -> None:
    with pytest.raises(MessageRefused):
        refuse_bytes(data)


def test_sound_goes_on() -> None:
    for data in (b"\x01", b"\x01\x00\x01{" + bytes(640), b"\x07" + b"\xff" * 100):
        refuse_bytes(data)


SOUNDS = (b"", bytes(640), b"\xff\xfe" * 320, b"{\x80" + bytes(638), b"[\xff\x00{" + bytes(60), b"RIFF" + bytes(60))
LIKE_TEXT = frozenset(b"[{\xef\xbb\xbf\xfe\xff")
"""Numbers that are as if a command began, which Core gives when ninety ask for sound at once."""


@pytest.mark.parametrize("sound", SOUNDS, ids=range(len(SOUNDS)))
def test_sound_goes_on_whatever_number_core_has_given_for_it(sound: bytes) -> None:
    for number in set(range(1, 256)) - LIKE_TEXT:
        refuse_bytes(bytes([number]) + sound)


@pytest.mark.parametrize("blank", [b"\t", b"\n", b"\r", b" "])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_command_behind_a_blank_does_not_go_on_as_sound(blank: bytes, encoding: str) -> None:
    for command in (COMMAND, f"[{COMMAND}]", f"{{}} {COMMAND}"):
        with pytest.raises(MessageRefused):
            refuse_bytes((blank.decode() + command).encode(encoding))


@pytest.mark.parametrize("text", ["[]", "null", '{"a": 1, "a": 1}', "x"])
def test_introduction_has_to_be_an_object_that_says_nothing_twice(text: str) -> None:
    with pytest.raises(MessageRefused):
        read_object(text)


async def test_long_message_is_read_without_holding_the_loop() -> None:
    text = json.dumps([{"id": number, "type": "ping"} for number in range(60_000)])

    assert await sifted(text) == Sifted(text)
    with pytest.raises(MessageRefused):
        await sifted(text + "x")


# --- whatever comes ---------------------------------------------------------------------------------------------------

KINDS = (
    st.sampled_from(["ping", "supervisor/api", "hassio/x", "SUPERVISOR/x", "\ufeffhassio/", "get_states"]) | st.text()
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
PAIRS = st.lists(
    st.tuples(st.just("type"), KINDS) | st.tuples(st.just("id"), st.integers() | VALUES) | st.tuples(st.text(), VALUES)
)


def written(pairs: list[tuple[str, Any]]) -> str:
    """An object with these keys, some perhaps more than once."""
    return "{" + ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs) + "}"


OBJECTS = PAIRS.map(written)
BATCHES = st.lists(OBJECTS | st.text(max_size=3)).map(lambda texts: "[" + ", ".join(texts) + "]")
BROKEN = st.tuples(OBJECTS | BATCHES, st.text(max_size=2), st.integers(0, 10)).map(
    lambda parts: parts[0][: parts[2]] + parts[1] + parts[0][parts[2] :]
)


@given(OBJECTS | BATCHES | BROKEN | st.text())
def test_nothing_that_core_reads_as_the_supervisors_command_ever_goes_on(text: str) -> None:
    """Core reads with orjson, which of a key that is there twice takes the last."""
    try:
        outcome = sift(text)
    except MessageRefused:
        return
    if outcome.forwarded is None:
        return
    try:
        content = orjson.loads(outcome.forwarded)
    except orjson.JSONDecodeError:
        return  # Core closes the connection
    for command in content if isinstance(content, list) else [content]:
        assert isinstance(command["type"], str)
        assert not command["type"].startswith(("supervisor/", "hassio/"))


@given(OBJECTS | BROKEN)
def test_nothing_goes_on_as_bytes_that_can_be_read_as_an_object_or_a_list(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32-le", "utf-32"):
        data = text.encode(encoding, "surrogatepass")
        try:
            content = json.loads(data)
        except (ValueError, RecursionError):
            continue
        if isinstance(content, dict | list):
            with pytest.raises(MessageRefused):
                refuse_bytes(data)
