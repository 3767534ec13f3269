"""A real browser, Chromium, steered through its DevTools protocol: what a user sees, and what it complains of."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp

from tests.real_core.rig.browser_network import BESIDE, connector_to, reaching
from tests.rig.waiting import until

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking",
    "--no-first-run", "--remote-debugging-port=0", "--window-size=1280,900",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
NETWORK_CHANGED = "ERR_NETWORK_CHANGED"
"""What it gives up loading with when a network of the machine that it is in comes or goes; a user tries again."""
PICTURES = Path(__file__).parents[3] / ".tools" / "pictures"
SETTLE_S = 0.5
"""Until what comes into view by and by is there: nothing says when it is, and nothing is told by it."""
START_S, SHOWN_S = 20.0, 40.0
DEEP_TEXT = """
(() => {
    const seen = (node) => {
        if (node.nodeType === Node.TEXT_NODE) return node.textContent + "\\n";
        if (["SCRIPT", "STYLE"].includes(node.nodeName)) return "";
        let inside = [...node.childNodes];
        if (node.shadowRoot) inside = inside.concat([...node.shadowRoot.childNodes]);
        if (node.nodeName === "IFRAME" && node.contentDocument) inside.push(node.contentDocument);
        return inside.map(seen).join("");
    };
    return seen(document);
})()
"""
"""All text of a page, in its web components and in its frames too."""
PLACE_OF = """
(async (words, after) => {
    let named = null, passed = !after;
    const look = (node) => {
        if (named || node.nodeType !== Node.ELEMENT_NODE || ["SCRIPT", "STYLE"].includes(node.nodeName)) return;
        const own = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE);
        const said = [own.map((child) => child.textContent).join("").trim(), node.label, node.ariaLabel, node.header];
        const box = node.getBoundingClientRect();
        if (passed && box.width && box.height && said.includes(words)) named = node;
        passed ||= said.includes(after);
        [...(node.shadowRoot ? node.shadowRoot.children : []), ...node.children].forEach(look);
    };
    if (document.body) look(document.body);
    if (!named) return null;
    const up = (node) => node.assignedSlot || node.parentNode || node.host;
    const runsOut = ({playState, effect}) => playState === "running" && effect.getComputedTiming().endTime < Infinity;
    for (let node = named; node; node = up(node))
        if (node.getAnimations && node.getAnimations().some(runsOut))
            return {why: "it comes into view"};
    named.scrollIntoView({block: "center", behavior: "instant"});
    const middle = () => {
        const {x, y, width, height} = named.getBoundingClientRect();
        return {x: x + width / 2, y: y + height / 2};
    };
    const before = middle();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const {x, y} = middle();
    if (x !== before.x || y !== before.y) return {why: "it moves"};
    let top = document.elementFromPoint(x, y), inner = top;
    while (inner) {
        top = inner;
        inner = top.shadowRoot && top.shadowRoot.elementFromPoint(x, y);
        if (inner === top) break;
    }
    for (let node = top; node; node = up(node))
        if (node === named) return {x, y};
    return {why: `${top && top.localName} lies on it`};
})(%s, %s)
"""
"""Where the first thing is that says so, or is called so, after another one in the order of the page, once it rests and
nothing lies on it: until a panel has opened, or a page has faded in, clicks go elsewhere. Or why it can't be clicked
yet. Frames are waited for, since things move from one to the next."""


class Page:
    """One tab."""

    def __init__(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        self._websocket = websocket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self.session: str | None = None
        self.complaints: list[str] = []
        """Errors of its scripts, and what it was refused."""

    async def open(self, url: str) -> None:
        """Go there."""
        await self._call("Page.navigate", url=url)

    async def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        return answer["result"].get("value")

    async def click(self, words: str, after: str = "") -> None:
        """Click what says these words, or is called so, once it is there and stays where it is.

        :param after: what stands before it, where several say the same
        """
        place: Any = None

        async def rests() -> bool:
            nonlocal place
            place = await self.evaluate(PLACE_OF % (json.dumps(words), json.dumps(after)))
            return place is not None and "why" not in place

        try:
            await until(rests, within_s=SHOWN_S, what=f"{words!r} to click on")
        except TimeoutError as error:
            error.add_note(f"it was at {place}; {await self._all_that_is_there()}")
            raise
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            await self._call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)

    async def fill(self, field: str, text: str, after: str = "") -> None:
        """Put a text into the field that is called so, in place of what is there, and leave it."""
        await self.click(field, after)
        everything = {"key": "a", "code": "KeyA", "windowsVirtualKeyCode": 65, "modifiers": 2}
        await self._call("Input.dispatchKeyEvent", type="rawKeyDown", commands=["selectAll"], **everything)
        await self._call("Input.insertText", text=text)
        for kind in ("rawKeyDown", "keyUp"):
            await self._call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)

    async def picture(self, name: str) -> None:
        """Keep what it looks like now, for somebody to look at."""
        await asyncio.sleep(SETTLE_S)
        shot = await self._call("Page.captureScreenshot", format="png")
        PICTURES.mkdir(parents=True, exist_ok=True)
        (PICTURES / f"{name}.png").write_bytes(base64.b64decode(shot["data"]))

    async def shows(self, words: str, within_s: float = SHOWN_S) -> str:
        """Everything that it shows, once those words are among it."""

        async def is_shown() -> str | None:
            if any(NETWORK_CHANGED in complaint for complaint in self.complaints):
                self.complaints.clear()
                await self._call("Page.reload")
            text = await self.evaluate(DEEP_TEXT) or ""
            return text if words in text else None

        try:
            return await until(is_shown, within_s=within_s, what=f"{words!r} on the page") or ""
        except TimeoutError as error:
            error.add_note(await self._all_that_is_there())
            raise

    async def _all_that_is_there(self) -> str:
        shown = " ".join((await self.evaluate(DEEP_TEXT) or "").split())
        return f"{await self.evaluate('location.href')} shows: {shown[:3000]}\n{self.complaints}"

    async def attach(self) -> None:
        """Be a new, empty tab."""
        target = await self._call("Target.createTarget", url="about:blank")
        attached = await self._call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            await self._call(f"{domain}.enable")

    async def listen(self) -> None:
        """Take what the browser says, until it ends."""
        async for message in self._websocket:
            said = json.loads(message.data)
            match said:
                case {"id": int() as number}:
                    self._answers.pop(number).set_result(said)
                case {"method": "Runtime.exceptionThrown", "params": {"exceptionDetails": details}}:
                    self.complaints.append(str(details))
                case {"method": "Log.entryAdded", "params": {"entry": {"level": "error", "text": text, **entry}}}:
                    self.complaints.append(f"{text} {entry.get('url', '')}")

    async def _call(self, method: str, **parameters: object) -> Any:
        number = next(self._numbers)
        self._answers[number] = asyncio.get_running_loop().create_future()
        session = {} if self.session is None else {"sessionId": self.session}
        await self._websocket.send_json({"id": number, "method": method, "params": parameters, **session})
        async with asyncio.timeout(START_S):
            answer = await self._answers[number]
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]


@contextlib.asynccontextmanager
async def browser_page(folder: Path, *ports: int) -> AsyncIterator[Page]:
    """A page of a browser of its own, which keeps its files in ``folder``.

    :param ports: where there are some, it runs beside this machine, and reaches these of our loopback
    """
    assert BROWSER is not None
    with (folder / "browser.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(BESIDE if ports else ()), BROWSER, *OPTIONS, f"--user-data-dir={folder / 'browser'}",
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        written = folder / "browser" / "DevToolsActivePort"

        async def address() -> list[str]:
            return written.read_text().split() if written.exists() else []

        port, path = await until(address, within_s=START_S, what="the browser")
        async with (
            reaching(process.pid, ports),
            aiohttp.ClientSession(connector=connector_to(process.pid) if ports else None) as session,
            session.ws_connect(f"ws://127.0.0.1:{port}{path}", max_msg_size=2**28) as websocket,
        ):
            page = Page(websocket)
            listening = asyncio.create_task(page.listen())
            await page.attach()
            yield page
            listening.cancel()
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # the command is a script that starts the browser
        await process.wait()
