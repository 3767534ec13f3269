"""The options mini-language: what each type takes, and that no refusal repeats a value."""

import hashlib
import time

import pytest
from attrs import frozen

from rooftree_store.option_places import device_options
from rooftree_store.options import OptionsInvalid, effective_options, validate_options
from rooftree_store.options_form import ui_schema
from rooftree_store.options_schema import parse_schema, parse_type
from rooftree_store.readers import Refused
from tests.rig.pace import on_this_machine


@frozen
class Stick:
    path: str = "/dev/ttyUSB0"
    by_id: str | None = "/dev/serial/by-id/stick"
    subsystem: str | None = "tty"


@frozen
class Host:
    devices: tuple[Stick, ...] = (Stick(), Stick("/dev/sda", None, "block"))

    def find(self, path):
        return next((device for device in self.devices if path in {device.path, device.by_id}), None)

    def of_subsystem(self, subsystem):
        return [device for device in self.devices if subsystem in {None, device.subsystem}]


SECRETS = {"wifi": "hunter2", "pin": 1234, "on": True}


def check(schema, options):
    return validate_options(parse_schema(schema), options, secrets=SECRETS.get, devices=Host())


def value(kind, given):
    return check({"x": kind}, {"x": given}).options["x"]


def findings(schema, options):
    with pytest.raises(OptionsInvalid) as refusal:
        check(schema, options)
    return {finding.path: finding.message for finding in refusal.value.findings}


OPTIONAL = [
    "bool",
    "int",
    "int(1,5)",
    "float",
    "email",
    "url",
    "port",
    "match([0-9]+)",
    "list(a|b)",
    "device",
    "str(2,)",
]


@pytest.mark.parametrize("kind", [*OPTIONAL, "str(2,)", "password(2,)"])
def test_empty_text_for_an_optional_option_is_not_set_and_for_a_required_one_is_wrong(kind):
    assert check({"x": f"{kind}?", "y": "str"}, {"x": "", "y": "z"}).options == {"y": "z"}
    assert check({"x": {"y": f"{kind}?"}}, {"x": {"y": ""}}).options == {"x": {}}
    assert check({"x": [f"{kind}?"]}, {"x": [""]}).options == {"x": []}
    assert check({"x": [{"y": f"{kind}?"}]}, {"x": [{"y": ""}]}).options == {"x": [{}]}
    assert set(findings({"x": kind}, {"x": ""})) == {"x"}


@pytest.mark.parametrize("kind", ["str?", "password?", "match(.*)?", "match([0-9]*)?", "list(|a)?"])
def test_empty_text_that_an_optional_options_type_takes_is_set(kind):
    assert check({"x": kind}, {"x": ""}).options == {"x": ""}


def test_empty_text_names_no_device():
    assert device_options(parse_schema({"x": "device?", "y": ["device?"]}), {"x": "", "y": ["", "/dev/a"]}) == [
        "/dev/a"
    ]


def test_choice_that_yaml_made_another_value_of_says_so():
    assert findings({"x": "list(yes|no)"}, {"x": True}) == {
        "x": "must be one of yes, no, as text: it is true or false, so put it in quotes"
    }
    assert findings({"x": "list(01|02)"}, {"x": 1})["x"].endswith("as text: it is a number, so put it in quotes")
    assert findings({"x": "list(yes|no)"}, {"x": "maybe"}) == {"x": "must be one of yes, no"}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("str", "", ""),
        ("str(2,3)", "abc", "abc"),
        ("str(,3)", "", ""),
        ("password(2,)", "secret", "secret"),
        ("bool", "ON", True),
        ("bool", 0, False),
        ("int", "2", 2),
        ("int", 2.9, 2),
        ("int", True, 1),
        ("int(-5,5)", -5, -5),
        ("float", "1e3", 1000.0),
        ("float(0.5,.75)", 0.75, 0.75),
        ("email", "me@example.com", "me@example.com"),
        ("url", "mqtt://broker", "mqtt://broker"),
        ("port", "65535", 65535),
        ("match(^a+)", "aab", "aab"),
        ("match([0-9]+)", 42, "42"),
        ("match(a?)?", "", ""),
        ("list(a|b c|3)", 3, "3"),
        ("list(a|b)\n", "b", "b"),
        ("device", "/dev/sda", "/dev/sda"),
        ("device(subsystem=tty)", "/dev/serial/by-id/stick", "/dev/serial/by-id/stick"),
        ("str", "!secret wifi", "hunter2"),
        ("str", "!secret   wifi ", "hunter2"),
        ("str", "!secret pin", "1234"),
        ("int", "!secret pin", 1234),
        ("bool", "!secret on", True),
    ],
)
def test_type_accepts_and_converts(kind, given, expected):
    result = value(kind, given)

    assert (result, type(result)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        ("str", 5, "must be text, not a number; put it in quotes"),
        ("str(2,3)", "a", "must have 2 to 3 characters"),
        ("str(2,)", "a", "must have at least 2 characters"),
        ("password(,1)", "ab", "must have at most 1 characters"),
        ("bool", "maybe", "must be true or false"),
        ("int", "2.5", "must be a whole number"),
        ("int", "9" * 5000, "must be a whole number"),
        ("int", 10**30, "must fit into 64 bits"),
        ("int(1,5)", 6, "must be 1 to 5"),
        ("float", "nan", "must be a finite number"),
        ("float(,2)", 2.1, "must be at most 2"),
        ("email", "me@localhost", "must be an e-mail address with a dotted domain"),
        ("url", "broker", "must be a URL with scheme and host"),
        ("port", 0, "must be a port, 1 to 65535"),
        ("match(^a$)", "ab", "must match the pattern '^a$' from its beginning"),
        ("match(()", "x", "cannot be checked: the add-on's pattern is not a valid or not an affordable one"),
        ("list(a|b)", "c", "must be one of a, b"),
        ("device", "/dev/null", "must be a device that this host has"),
        ("device(subsystem=tty)", "/dev/sda", "must be a device of the subsystem tty"),
        ("str", "!secret nothing", "refers to a secret that secrets.yaml does not have"),
        ("str", {"a": 1}, "must be a single value, not a mapping"),
        ("str", None, "is required, it must not be null"),
        (["str"], "a", "must be a list, not text"),
        ({"a": "str"}, [], "must be a mapping, not a list"),
    ],
)
def test_type_refuses_with_a_sentence(kind, given, message):
    assert findings({"x": kind}, {"x": given}) == {"x": message}


def test_every_problem_has_its_path():
    schema = {"logins": [{"user": "str", "password": "password(8,)"}], "net": {"port": "port"}, "tags": ["int"]}
    options = {"logins": [{"user": "me", "password": "short"}, {"password": "longenough"}], "tags": [1, "x"]}

    assert findings(schema, options) == {
        "logins[0].password": "must have at least 8 characters",
        "logins[1].user": "is required",
        "net.port": "is required",
        "tags[1]": "must be a whole number",
    }


@pytest.mark.parametrize(
    "kind", ["password(30,)", "int", "port", "email", "url", "match(^z)", "list(a|b)", "device", "bool"]
)
@pytest.mark.parametrize("given", ["top-secret-value", "!secret wifi"])
def test_values_and_secrets_are_never_repeated(kind, given):
    with pytest.raises(OptionsInvalid) as refusal:
        check({"x": kind}, {"x": given})

    assert "top-secret-value" not in str(refusal.value)
    assert "hunter2" not in str(refusal.value)


def test_unknown_keys_are_dropped_and_reported():
    result = check({"a": {"b": "str"}}, {"a": {"b": "x", "c": 1}, "d": 2})

    assert result.options == {"a": {"b": "x"}}
    assert {finding.path for finding in result.warnings} == {"a.c", "d"}


def test_what_may_be_missing_may_be_null_too():
    schema = {"a": "str?", "b": ["str?"], "c": {"d": "int?"}}

    assert check(schema, {}).options == {"c": {}}
    assert check(schema, {"a": None, "b": None, "c": None}).options == {"c": {}}
    assert check(schema, {"c": {"d": None}}).options == {"c": {}}


def test_lists_of_mappings_and_of_required_values_are_required():
    assert set(findings({"a": ["str"], "b": [{"c": "str?"}]}, {})) == {"a", "b"}


def test_null_inside_a_list_is_refused():
    assert set(findings({"a": ["str?"]}, {"a": ["x", None]})) == {"a[1]"}


def test_password_hashes_are_collected_but_not_of_empty_ones():
    result = check(
        {"a": "password", "b": ["password"], "c": "str"}, {"a": "", "b": ["one", "!secret wifi"], "c": "two"}
    )

    assert result.password_hashes == {hashlib.sha1(text).hexdigest().upper() for text in (b"one", b"hunter2")}


def test_devices_used_are_collected():
    result = check({"a": "device", "b": ["device?"]}, {"a": "/dev/sda", "b": ["/dev/ttyUSB0"]})

    assert [device.path for device in result.devices] == ["/dev/sda", "/dev/ttyUSB0"]


def test_user_options_go_over_defaults_key_by_key():
    defaults = {"net": {"host": "a", "port": 1}, "tags": ["x"], "name": "n"}

    merged = effective_options(defaults, {"net": {"port": 2}, "tags": [], "name": None})

    assert merged == {"net": {"host": "a", "port": 2}, "tags": [], "name": None}
    assert defaults == {"net": {"host": "a", "port": 1}, "tags": ["x"], "name": "n"}


def test_null_takes_back_a_default_of_an_optional_key():
    merged = effective_options({"name": "n"}, {"name": None})

    assert check({"name": "str?"}, merged).options == {}


def test_schema_false_hands_options_through():
    options = {"anything": [1, {"goes": None}], "raw": "!secret wifi"}

    assert validate_options(None, options, secrets=SECRETS.get).options == options
    assert ui_schema(None) is None


@pytest.mark.parametrize("pattern", [r"(x+x+)+y", r"(x*)*\1y", r"(?:x|x|x)*y"])
def test_pattern_that_explodes_ends_within_its_budget(pattern):
    started = time.perf_counter()

    found = findings({"a": [f"match({pattern})"]}, {"a": ["x" * 20_000] * 20})

    assert time.perf_counter() - started < on_this_machine(2)
    assert all("too long" in message or "must match" in message for message in found.values())


@pytest.mark.parametrize(
    "pattern",
    [
        "((a{1000}){1000}){1000}",
        "((a{0,1000}){0,1000}){0,1000}",
        "(((((((a{9}){9}){9}){9}){9}){9}){9})",
        "a" * 3000,
        "(" * 900,
        "(?:(?:ab{300})(?#){300})(?#){30}",
        "(?#[)(?:(?:ab{300}){300}){30}(?#])",
        "(?x)(?:(?:ab{300}) {300}) {30}",
        "(?V0x-i:(?:(?:ab{300}) {300}) {30})",
    ],
)
def test_pattern_that_is_dear_to_compile_is_not_compiled(pattern):
    started = time.perf_counter()

    assert "affordable" in findings({"a": f"match({pattern})"}, {"a": "a"})["a"]
    assert time.perf_counter() - started < on_this_machine(1)


def test_budget_is_for_all_values_together():
    started = time.perf_counter()

    findings({"a": ["match((x+x+)+y)"]}, {"a": ["x" * 5000] * 5000})

    assert time.perf_counter() - started < on_this_machine(2)


def test_choices_without_end_are_not_all_listed():
    message = findings({"a": f"list({'|'.join(map(str, range(1000)))})"}, {"a": "x"})["a"]

    assert message.endswith("28, 29, …")


def test_dots_in_option_names_are_not_depth():
    assert check({"a." * 60: "str"}, {"a." * 60: "x"}).warnings == ()


def test_ordinary_counted_repeats_are_affordable():
    assert value(r"match(^(?:[0-9]{1,3}\.){3}[0-9]{1,3}/[a-f]{1,253}$)", "10.0.0.1/ab") == "10.0.0.1/ab"


@pytest.mark.parametrize(
    "source",
    ["", "text", "str?(1,2)", "str(1)", "str(a,b)", "int(1.5,2)", "bool(1,2)", "list()", "list", "match", "device()",
     "device(usb)", " str", "str ", "STR", "int(1, 2)", "str??"],
)  # fmt: skip
def test_what_is_no_type_is_refused(source):
    assert parse_type(source) is None
    with pytest.raises(Refused):
        parse_schema({"a": source})


def test_schema_without_end_is_refused():
    schema = "str"
    for _ in range(200):
        schema = {"a": schema}

    with pytest.raises(Refused, match="nests deeper"):
        parse_schema(schema)


def test_ui_schema_has_the_shape_clients_know():
    schema = parse_schema(
        {
            "name": "str(1,20)",
            "key": "password?",
            "count": "int(,5)?",
            "ratio": "float(0.5,)",
            "on": "bool",
            "mail": "email",
            "home": "url?",
            "port": "port",
            "code": "match(^a$)",
            "level": "list(a|b)?",
            "stick": "device(subsystem=tty)",
            "any": "device?",
            "tags": ["str?"],
            "net": {"host": "str"},
            "logins": [{"user": "str"}],
        }
    )

    assert ui_schema(schema, Host()) == [
        {"name": "name", "type": "string", "required": True, "lengthMin": 1.0, "lengthMax": 20.0},
        {"name": "key", "type": "string", "optional": True, "format": "password"},
        {"name": "count", "type": "integer", "optional": True, "lengthMax": 5.0},
        {"name": "ratio", "type": "float", "required": True, "lengthMin": 0.5},
        {"name": "on", "type": "boolean", "required": True},
        {"name": "mail", "type": "string", "required": True, "format": "email"},
        {"name": "home", "type": "string", "optional": True, "format": "url"},
        {"name": "port", "type": "integer", "required": True},
        {"name": "code", "type": "string", "required": True},
        {"name": "level", "type": "select", "optional": True, "options": ["a", "b"]},
        {"name": "stick", "type": "select", "required": True, "options": ["/dev/serial/by-id/stick"]},
        {"name": "any", "type": "select", "optional": True, "options": ["/dev/serial/by-id/stick", "/dev/sda"]},
        {"name": "tags", "type": "string", "optional": True, "multiple": True},
        {
            "name": "net", "type": "schema", "optional": True, "multiple": False,
            "schema": [{"name": "host", "type": "string", "required": True}],
        },
        {
            "name": "logins", "type": "schema", "optional": True, "multiple": True,
            "schema": [{"name": "user", "type": "string", "required": True}],
        },
    ]  # fmt: skip


def test_list_with_several_types_checks_by_the_first_and_keeps_its_source():
    source = {"a": [{"b": "int"}, {"b": "str"}]}

    assert parse_schema(source).source() == source
    assert check(source, {"a": [{"b": "1"}, {"b": 2}]}).options == {"a": [{"b": 1}, {"b": 2}]}
