"""The documentation's page: everything it needs comes from here, and a browser shows it."""

from __future__ import annotations

import asyncio
import gzip
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest

from rooftree.process.system import System
from rooftree.testing import Client
from rooftree_supervisor.api_documents.routes import HOME
from tests.requirements import needs

PAGE = "/kernel/v1/docs"
FILES = ("docs.js", "swagger-ui-bundle.js", "swagger-ui.css")
BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")


class Loaded(HTMLParser):
    """What a page loads, and whether anything is written into it that a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag == "script" and "src" not in given:
            self.inline.append(tag)
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.urls += [given[name] or "" for name in ("src", "href") if name in given]


@pytest.fixture
async def stranger(system: System):
    """Somebody without a token, as a browser is."""
    async with Client.over_tcp(system) as client:
        yield client


async def test_page_loads_only_what_is_here(stranger: Client) -> None:
    page = await stranger.get(PAGE)
    loaded = Loaded()
    loaded.feed(page.text)

    assert page.headers["Content-Type"] == "text/html"
    assert loaded.inline == []
    assert loaded.urls
    for url in loaded.urls:
        if not url.startswith("data:"):
            assert urlsplit(url).netloc == urlsplit(url).scheme == ""
            assert (await stranger.get(urljoin(PAGE, url))).status == 200, url


async def test_our_own_script_names_no_other_host_and_finds_the_document(stranger: Client) -> None:
    script = (await stranger.get(f"{PAGE}/docs.js")).text
    (url,) = re.findall(r'url: "([^"]+)"', script)

    assert "//" not in re.sub(r"^//.*$", "", script, flags=re.MULTILINE)
    assert "validatorUrl: null" in script  # else Swagger UI shows the document to a service of its makers
    assert urljoin(f"http://here{PAGE}", url) == "http://here/openapi.json"
    assert (await stranger.get("/openapi.json")).status == 200


async def test_style_sheet_loads_nothing_from_elsewhere(stranger: Client) -> None:
    style = (await stranger.get(f"{PAGE}/swagger-ui.css")).text

    urls = re.findall(r"url\(([^)]*)\)", style)
    assert urls
    assert [url for url in urls if not url.strip("\"'").startswith("data:")] == []
    assert "@import" not in style


@pytest.mark.parametrize("path", [PAGE, *(f"{PAGE}/{file}" for file in FILES)])
async def test_policy_keeps_everything_else_out(stranger: Client, path: str) -> None:
    policy = (await stranger.get(path)).headers["Content-Security-Policy"]
    rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}

    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == ["'none'"]
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == ["'self'"]
    assert rules["img-src"] == ["'self'", "data:"]
    assert set(rules) == {
        "default-src", "base-uri", "form-action", "frame-ancestors", "script-src", "style-src", "connect-src", "img-src"
    }  # fmt: skip


@pytest.mark.parametrize("file", FILES)
async def test_files_are_sent_packed_to_who_can_unpack_them(stranger: Client, file: str) -> None:
    packed = await stranger.get(f"{PAGE}/{file}", headers={"Accept-Encoding": "gzip"})
    plain = await stranger.get(f"{PAGE}/{file}", headers={"Accept-Encoding": "identity"})

    assert (packed.headers.get("Content-Encoding"), plain.headers.get("Content-Encoding")) == ("gzip", None)
    assert int(packed.headers["Content-Length"]) < len(plain.body) == int(plain.headers["Content-Length"])
    assert packed.body == plain.body  # the client has unpacked it
    assert packed.headers["Content-Type"] == plain.headers["Content-Type"]
    assert packed.headers["Vary"] == "Accept-Encoding"


async def test_other_files_of_the_package_are_not_served(stranger: Client) -> None:
    for name in ("routes.py", "docs.html", "VERSION", "swagger-ui.css.gz"):
        assert (await stranger.get(f"{PAGE}/{name}")).status == 404, name


def test_swagger_ui_is_kept_packed_and_with_its_licences() -> None:
    home = HOME / "swagger_ui"

    assert sum(file.stat().st_size for file in home.iterdir()) < 600_000
    assert "Apache License" in (home / "LICENSE").read_text()
    assert {"NOTICE", "VERSION", "swagger-ui-bundle.js.LICENSE.txt"} <= {file.name for file in home.iterdir()}
    assert b"SwaggerUIBundle" in gzip.decompress((home / "swagger-ui-bundle.js.gz").read_bytes())


@needs(BROWSER is not None, "needs Chromium (package chromium-headless-shell or chromium)")
async def test_browser_shows_every_operation_and_refuses_nothing(system: System, tmp_path: Path) -> None:
    assert BROWSER is not None
    options = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--enable-logging=stderr",
        "--virtual-time-budget=20000",
        f"--user-data-dir={tmp_path / 'browser'}",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "--dump-dom",
    )
    process = await asyncio.create_subprocess_exec(
        BROWSER,
        *options,
        f"http://127.0.0.1:{system.port}{PAGE}",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    shown, said = await process.communicate()

    complaints = [line for line in said.decode().splitlines() if "CONSOLE" in line]
    assert complaints == []
    async with Client.over_tcp(system) as client:
        document = (await client.get("/openapi.json")).text
    offered = set(re.findall(r'"operationId":"([\w.]+)"', document))
    assert len(offered) > 20
    drawn = re.findall(r'id="operations-(?!tag-)\w+-([^"]+)"', shown.decode())
    assert {name.replace("\\", "") for name in drawn} == offered
