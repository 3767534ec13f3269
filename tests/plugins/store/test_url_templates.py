"""Addresses of web pages and watchdogs."""

import pytest

from rooftree_store.url_templates import resolve_watchdog, resolve_webui


@pytest.mark.parametrize(
    ("template", "ports", "options", "expected"),
    [
        ("http://[HOST]:[PORT:80]/ui", {"80/tcp": 8080}, {}, "http://[HOST]:8080/ui"),
        ("https://[HOST]:[PORT:80]", {"81/tcp": 8081}, {}, "https://[HOST]:80"),
        ("http://[HOST]:[PORT:80]", {"80": 8080}, {}, "http://[HOST]:8080"),
        ("[PROTO:ssl]://[HOST]:[PORT:80]", {}, {"ssl": True}, "https://[HOST]:80"),
        ("[PROTO:ssl]://[HOST]:[PORT:80]", {}, {"ssl": False}, "http://[HOST]:80"),
        ("[PROTO:ssl]://[HOST]:[PORT:80]", {}, {}, "http://[HOST]:80"),
        ("http://[HOST]:[PORT:80]", {"80/tcp": None}, {}, None),
    ],
)
def test_webui_has_the_published_port_and_keeps_the_host(template, ports, options, expected):
    assert resolve_webui(template, ports=ports, options=options) == expected


def test_webui_on_the_hosts_network_needs_no_published_port():
    resolved = resolve_webui("http://[HOST]:[PORT:80]", ports={"80/tcp": None}, options={}, host_network=True)

    assert resolved == "http://[HOST]:80"


@pytest.mark.parametrize(
    ("template", "host_network", "ports", "expected"),
    [
        ("http://[HOST]:[PORT:80]/health", False, {"80/tcp": 8080}, "http://172.30.33.1:80/health"),
        ("http://[HOST]:[PORT:80]/health", True, {"80/tcp": 8080}, "http://172.30.33.1:8080/health"),
        ("http://[HOST]:[PORT:80]", True, {"80/tcp": None}, "http://172.30.33.1:80"),
        ("tcp://[HOST]:9000", True, {"9000/tcp": 1}, "tcp://172.30.33.1:9000"),
        ("[PROTO:ssl]://[HOST]:9000", False, {}, "https://172.30.33.1:9000"),
    ],
)
def test_watchdog_asks_the_container_or_the_host(template, host_network, ports, expected):
    target = resolve_watchdog(
        template, host="172.30.33.1", host_network=host_network, ports=ports, options={"ssl": "yes"}
    )

    assert target.url == expected


@pytest.mark.parametrize("suffix", ["@example.com/", "0/", ":1@example.com", ".example.com/", "\\@example.com"])
def test_what_stands_behind_the_port_is_never_part_of_the_host(suffix: str) -> None:
    target = resolve_watchdog(
        f"http://[HOST]:[PORT:80]{suffix}", host="172.30.33.1", host_network=False, ports={}, options={}
    )
    webui = resolve_webui(f"http://[HOST]:[PORT:80]{suffix}", ports={}, options={})

    assert target.url == f"http://172.30.33.1:80/{suffix}"
    assert webui == f"http://[HOST]:80/{suffix}"
