"""What only passes through, such as a vault's backup that is sent as a file: in a folder of the plugin's own, which is
emptied at each start."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Final

from rooftree import Kernel

_NAME: Final = "passing"


async def passing_folder(kernel: Kernel) -> Path:
    path = await kernel.folder() / _NAME
    await asyncio.to_thread(path.mkdir, 0o700, exist_ok=True)  # ours: the plugin's own folder
    return path


async def empty_passing_folder(kernel: Kernel) -> None:
    """Delete what a kill has left there."""
    await asyncio.to_thread(shutil.rmtree, await kernel.folder() / _NAME, ignore_errors=True)  # ours: as above
