"""What the landing page shows: one page without anything from elsewhere, and the same facts as JSON for its script.

The script is the page's own: its digest is in the policy that the browser is told, so that no other runs. It goes to
Core as soon as that answers, on this port or on another that the page had.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from html import escape
from string import Template
from typing import Final

import orjson

from rooftree_homeassistant.installation import Progress, Stage

STATUS_PATH: Final = "/landing/status"
_BY_HAND: Final = "rooftree call POST /core/update"
_GIB: Final = 1024**3


def heading(progress: Progress) -> str:
    """Where the install is, in one line."""
    version = progress.version or ""
    match progress.stage:
        case Stage.WAITING:
            return "Waiting for the container engine"
        case Stage.LOOKING:
            return "Looking for the newest version"
        case Stage.FETCHING:
            return f"Fetching version {version}"
        case Stage.STARTING:
            return f"Starting version {version}"
        case Stage.STOPPED:
            return "The installation was stopped"
        case Stage.FAILED:
            return f"Version {version} is installed, and could not be started"


def detail(progress: Progress) -> str:
    """What else to say of it."""
    match progress.stage:
        case Stage.FETCHING if progress.total_bytes:
            return (
                f"{progress.fetched_bytes / progress.total_bytes:.0%}, "
                f"{progress.fetched_bytes / _GIB:.2f} of {progress.total_bytes / _GIB:.2f} GiB"
            )
        case Stage.STARTING:
            return "The first start takes some minutes. This page goes there by itself."
        case Stage.STOPPED:
            return f"To go on, restart Rooftree, or call on this machine: {_BY_HAND}"
        case Stage.FAILED:
            return "It is tried again. On this machine, rooftree problems says more."
        case _:
            return ""


def advice(progress: Progress) -> str:
    """How to go on by hand where it does not by itself; empty where all is well."""
    if progress.trouble is None or progress.stage is Stage.FAILED:
        return ""
    return (
        "It is tried again by itself. On this machine, rooftree problems says more. To take another version, "
        "end the job whose uuid rooftree call GET /jobs/info shows (rooftree call POST /kernel/v1/jobs/UUID/cancel), "
        f'and call: {_BY_HAND} \'{{"version": "…"}}\''
    )


def status(progress: Progress, ports: Collection[int]) -> bytes:
    """The facts, as JSON; ``percent`` is ``null`` where it is not known."""
    percent = progress.fetched_bytes / progress.total_bytes * 100 if progress.total_bytes else None
    return orjson.dumps(
        {
            "stage": progress.stage,
            "heading": heading(progress),
            "detail": detail(progress),
            "trouble": progress.trouble or "",
            "advice": advice(progress),
            "percent": percent if percent is None else round(percent, 1),
            "ports": sorted(ports),
        }
    )


def page(progress: Progress) -> bytes:
    """The page, with the facts in it for who runs no script."""
    return _PAGE.substitute(
        style=_STYLE,
        script=_SCRIPT,
        heading=escape(heading(progress)),
        detail=escape(detail(progress)),
        trouble=escape(progress.trouble or ""),
        advice=escape(advice(progress)),
        done=progress.fetched_bytes,
        total=progress.total_bytes or 1,
    ).encode()


_STYLE: Final = """
:root { color-scheme: light dark; font: 18px/1.5 system-ui, sans-serif }
body { max-width: 34rem; margin: 15vh auto 0; padding: 0 1.5rem }
h1 { font-size: 1.6rem; font-weight: 600 }
progress { width: 100%; height: .6rem; accent-color: #03a9f4 }
#trouble { color: #c62828 } #advice { opacity: .75; font-size: .9rem }
"""
_SCRIPT: Final = """
const text = (id, value) => { document.getElementById(id).textContent = value };
let ports = [];
async function look() {
  let answer;
  try {
    answer = await fetch("/landing/status", { cache: "no-store" });
  } catch {
    text("heading", "Home Assistant starts"); text("detail", ""); text("trouble", ""); text("advice", "");
    for (const port of ports) {
      const there = "http://" + location.hostname + ":" + port + "/";
      try { await fetch(there, { mode: "no-cors", cache: "no-store" }); location.replace(there); return } catch {}
    }
    return;
  }
  let told = null;
  try { if (answer.ok) told = await answer.json() } catch {}
  if (!told || !told.stage) { location.replace("/"); return }
  ports = told.ports;
  for (const id of ["heading", "detail", "trouble", "advice"]) text(id, told[id]);
  const bar = document.getElementById("bar");
  if (told.percent === null) bar.removeAttribute("value"); else { bar.max = 100; bar.value = told.percent }
}
setInterval(look, 2000); look();
"""
_PAGE: Final = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Home Assistant is being prepared</title>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>$style</style>
</head>
<body>
<h1>Home Assistant is being prepared</h1>
<p id="heading" role="status">$heading</p>
<progress id="bar" value="$done" max="$total" aria-labelledby="heading"></progress>
<p id="detail">$detail</p>
<p id="trouble">$trouble</p>
<p id="advice">$advice</p>
<script>$script</script>
</body>
</html>
""")


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY: Final = (
    f"Content-Security-Policy: default-src 'none'; style-src {_digest(_STYLE)}; script-src {_digest(_SCRIPT)}; "
    "connect-src 'self' http:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
