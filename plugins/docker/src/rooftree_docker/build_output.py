"""What the classic builder prints, as progress: step by step, and the last lines for the error when a step fails."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from typing import Final

from rooftree.interfaces.containers import Progress
from rooftree_docker.engine_client import Json

LINES_IN_AN_ERROR: Final = 20
_STEP: Final = re.compile(r"Step (\d{1,4})/(\d{1,4}) : ")
_ESCAPES: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_HOUSEKEEPING: Final = (" ---> ", "Removing intermediate container ")
_LONGEST_LINE: Final = 2000
_LONGEST_MESSAGE: Final = 20_000
"""With escape codes, and what a carriage return takes back."""


class BuildOutput:
    """Takes the builder's messages and hands on whole lines."""

    def __init__(self) -> None:
        self.step = 0
        self.steps = 0
        self._tail: deque[str] = deque(maxlen=LINES_IN_AN_ERROR)
        self._open = ""

    def feed(self, message: Json) -> Iterator[Progress]:
        """The lines that ``message`` completes."""
        *lines, self._open = (self._open + str(message.get("stream", ""))).split("\n")
        for line in lines:
            yield from self._line(line)
        if len(self._open) > _LONGEST_LINE:
            yield from self._rest()

    def finished(self) -> Iterator[Progress]:
        """The rest, once the builder is done."""
        yield from self._rest()
        self.step = self.steps = max(1, self.steps)
        yield Progress(done=self.steps, total=self.steps)

    def failed(self, said: str) -> str:
        """The end of an error message: where it stopped, what the engine said, and the last lines."""
        for _ in self._rest():
            pass
        where = f" at step {self.step} of {self.steps}" if self.steps else ""
        return "\n".join((f"{where}: {said.strip()}", *self._tail))

    def _rest(self) -> Iterator[Progress]:
        line, self._open = self._open, ""
        yield from self._line(line)

    def _line(self, line: str) -> Iterator[Progress]:
        line = _ESCAPES.sub("", line[:_LONGEST_MESSAGE]).rsplit("\r", 1)[-1].rstrip()[:_LONGEST_LINE]
        if not line:
            return
        if step := _STEP.match(line):
            self.step, self.steps = int(step[1]), int(step[2])
        if not line.startswith(_HOUSEKEEPING):
            self._tail.append(line)
        yield Progress(done=max(0, self.step - 1), total=self.steps, line=line)
