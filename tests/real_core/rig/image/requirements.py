"""Print what Core installs by itself at its first start, and what the integrations named want beside it: so that it
needs no network, and no compiler, when it runs. Run by the Dockerfile, where Core is installed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import homeassistant.components
from homeassistant import bootstrap, const

COMPONENTS = Path(homeassistant.components.__path__[0])
ALWAYS = (
    bootstrap.DEFAULT_INTEGRATIONS
    | bootstrap.DEFAULT_INTEGRATIONS_SUPERVISOR
    | bootstrap.DEFAULT_INTEGRATIONS_RECOVERY_MODE
    | {str(platform) for platform in const.BASE_PLATFORMS}
)


def requirements(names: set[str], seen: set[str]) -> Iterator[str]:
    for name in sorted(names - seen):
        seen.add(name)
        manifest = json.loads((COMPONENTS / name / "manifest.json").read_text(encoding="utf-8"))
        yield from manifest.get("requirements", ())
        yield from requirements(set(manifest.get("dependencies", ())), seen)


print("\n".join(sorted({*requirements({*ALWAYS, *sys.argv[1:]}, set()), "colorlog"})))
