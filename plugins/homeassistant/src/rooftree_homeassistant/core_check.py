"""Checking Core's configuration: with the program of the version that is installed, in a container of its own that is
gone afterwards. Core itself runs on."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from rooftree import Failed, Invalid, Lock, Step, Steps, job, step
from rooftree.interfaces.containers import ContainerEngine, ContainerSpec, DataPath, EngineRefused, Mount
from rooftree_containers.logs import strip_colors
from rooftree_containers.steps import PullImage
from rooftree_homeassistant.core_container import CONFIG, prepare, start_refused, timezone_of
from rooftree_homeassistant.core_jobs import refuse_not_installed
from rooftree_homeassistant.home_assistant import HomeAssistant

CONTAINER: Final = "homeassistant_check"
COMMAND: Final = ("python3", "-m", "homeassistant", "--config", "/config", "--script", "check_config")
WITHIN_S: Final = 600.0
"""Seconds that a check may take: it installs what integrations need to be checked."""
MOST_LINES: Final = 1_000
"""Of what it says, the last so many are the answer."""
_UNREADABLE: Final = b"homeassistant.util.yaml"
"""Who complains of a file that can't be read at all, which the program does not count as an error."""


class CoreConfigInvalid(Invalid):
    """Core would not start with its configuration. The message is what its check says."""


class CheckFailed(Failed):
    """The check itself did not come to its end."""

    status = 400


@step("homeassistant.check_configuration/1")
class CheckConfiguration(Step):
    """Let Core's own check look at the configuration."""

    image: str
    interruptible = True

    async def do(self, core: HomeAssistant, engine: ContainerEngine) -> None:
        """Run it to its end, whatever an earlier try left; raises :class:`CoreConfigInvalid`."""
        await asyncio.to_thread(prepare, core.kernel.data.path)
        await engine.create(await self._specification(core))
        try:
            async with asyncio.timeout(WITHIN_S):
                await self._start(core, engine)
                lines = deque([line.text async for line in engine.logs(CONTAINER, follow=True)], MOST_LINES)
                shown = await engine.container(CONTAINER)
        except TimeoutError:
            raise CheckFailed(f"The check did not end within {WITHIN_S / 60:g} minutes") from None
        finally:
            await engine.remove(CONTAINER)
        if shown is None or shown.exit_code is None:
            raise CheckFailed("The check was ended by somebody before it came to its end")
        text = strip_colors(b"\n".join(lines))
        if shown.exit_code or _UNREADABLE in text:
            said = text.decode(errors="replace").strip()
            raise CoreConfigInvalid(said or f"The check ended with exit code {shown.exit_code}, and without a word")

    async def _start(self, core: HomeAssistant, engine: ContainerEngine) -> None:
        try:
            await engine.start(CONTAINER)
        except EngineRefused as error:
            raise start_refused(core.container_settings.privileged, error) from error

    async def _specification(self, core: HomeAssistant) -> ContainerSpec:
        return ContainerSpec(
            name=CONTAINER,
            image=self.image,
            environment={"TZ": await timezone_of(core.kernel)},
            mounts=(
                Mount(CONFIG, "/config"),
                Mount(DataPath("ssl"), "/ssl", read_only=True),
                Mount(DataPath("share"), "/share"),
            ),
            privileged=core.container_settings.privileged,
            security_options=("seccomp=unconfined",),
            entrypoint=(),
            command=COMMAND,
        )

    async def undo(self, _: None, engine: ContainerEngine) -> None:
        """Take its container away."""
        await engine.remove(CONTAINER)


@job("home_assistant_core_check", locks=lambda: [Lock("core", "check")])
async def check_configuration(core: HomeAssistant, engine: ContainerEngine) -> Steps:
    """Check Core's configuration."""
    image = refuse_not_installed(core).image
    is_there = await engine.image(image) is not None
    return [*([] if is_there else [PullImage(image)]), CheckConfiguration(image)]
