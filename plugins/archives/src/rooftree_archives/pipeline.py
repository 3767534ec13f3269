"""Work on a stream of bytes in several threads: while one part of it is read, the one before is encrypted and the one
before that is written. What works on bytes here (hashing, ciphers, deflate, the disk) lets other threads run meanwhile.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import Final, Protocol

type Chunk = bytes | bytearray | memoryview

CHUNK: Final = 256 * 1024
"""Bytes that are worked on at a time."""
_WAITING: Final = 3
"""Chunks that may wait between two stages."""


class Stage(Protocol):
    """What is done to a stream."""

    def take(self, chunk: Chunk) -> Iterable[Chunk]:
        """What goes on, now that this has come."""
        ...

    def end(self) -> Iterable[Chunk]:
        """What goes on at the end."""
        ...


class Outflow:
    """A stream that runs through stages, a thread for each. Use it as a context: it is over, or it has failed, when the
    block ends; what a stage raised is raised by :meth:`put`, or at the end."""

    def __init__(self, *stages: Stage) -> None:
        self._error: BaseException | None = None
        self._queues = [queue.Queue[Chunk | None](_WAITING) for _ in stages]
        self._threads = [
            threading.Thread(target=self._run, args=(stage, number), daemon=True) for number, stage in enumerate(stages)
        ]

    def __enter__(self) -> Outflow:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._error is None:
            self._error = error
        self._queues[0].put(None)
        for thread in self._threads:
            thread.join()
        if self._error is not None and error is None:
            raise self._error

    def put(self, chunk: Chunk) -> None:
        """Let it flow; waits while the first stage has enough to do."""
        if self._error is not None:
            raise self._error
        self._queues[0].put(chunk)

    def _run(self, stage: Stage, number: int) -> None:
        source = self._queues[number]
        target = self._queues[number + 1] if number + 1 < len(self._queues) else None
        while (chunk := source.get()) is not None:
            self._pass_on(target, stage.take, chunk)
        self._pass_on(target, stage.end)
        if target is not None:
            target.put(None)

    def _pass_on[**P](
        self,
        target: queue.Queue[Chunk | None] | None,
        work: Callable[P, Iterable[Chunk]],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Do a stage's work, unless something has failed: then the rest only has to run out."""
        if self._error is not None:
            return
        try:
            for chunk in work(*args, **kwargs):
                if target is not None:
                    target.put(chunk)
        except BaseException as error:  # raised where the stream is filled
            self._error = error


class Inflow(AbstractContextManager["Inflow"]):
    """The chunks of an iterator, which runs ahead in a thread of its own until the block ends."""

    def __init__(self, chunks: Iterable[Chunk]) -> None:
        self._chunks = iter(chunks)
        self._queue = queue.Queue[Chunk | BaseException | None](_WAITING)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping = True
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()  # it may wait for room: then there is enough for all that it still puts
        self._thread.join()

    def __iter__(self) -> Iterator[Chunk]:
        while (chunk := self._queue.get()) is not None:
            if isinstance(chunk, BaseException):
                raise chunk
            yield chunk

    def _run(self) -> None:
        try:
            for chunk in self._chunks:
                if self._stopping:
                    return
                self._queue.put(chunk)
        except BaseException as error:  # raised where the stream is used
            self._queue.put(error)
        else:
            self._queue.put(None)
