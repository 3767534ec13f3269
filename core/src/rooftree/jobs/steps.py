"""Steps: the changes to the world that a job is made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, dataclass_transform, get_type_hints

import attrs

from rooftree.errors import RooftreeError
from rooftree.model import converter, unstructure
from rooftree.services import Injector, ServiceDirectory, parameters

KINDS: dict[str, type[Step]] = {}
"""Every step kind of the modules that are loaded, so that the journal's rows find their code again."""


class Step:
    """Base of every step.

    A step is a frozen class with a stable kind (``docker.pull_image/1``), plain arguments and up to four verbs whose
    further parameters are services, or the plugin that it is part of, by its class::

        @step("docker.pull_image/1")
        class PullImage(Step):
            image: str

            async def before(self, engine: ContainerEngine) -> str | None: ...  # looks; what it returns is journaled
            async def do(self, run: Run, engine: ContainerEngine) -> None: ...  # may be repeated
            async def undo(self, before: str | None, engine: ContainerEngine) -> None: ...  # after a part of do
            async def fetch_bytes(self, engine: ContainerEngine) -> int | None: ...  # for the plan; where it fetches
            async def notes(self, engine: ContainerEngine) -> list[str]: ...  # for the plan; what else to know of it

    ``before`` returns what ``undo`` will need and is journaled with the intent, ahead of ``do``. ``do`` may run again
    after a crash, so it starts from whatever it finds. ``undo`` takes back only what this job made. A step without
    ``undo`` can't be taken back, and what was done before it stays: a job that is killed in or after it goes forward.
    Put such steps last.
    """

    kind: ClassVar[str]
    weight: ClassVar[int] = 1
    """How much of a job's progress this step is, beside its neighbours."""
    stage: ClassVar[str | None] = None
    """What the jobs API shows while it runs; the kind's own name where this is ``None``."""
    tidies: ClassVar[bool] = False
    """Whether it only tidies up what is no longer needed: when it fails, that is logged, and the job goes on."""
    downtime: ClassVar[bool] = False
    """Whether something that runs does not run meanwhile, or any more; a plan says so."""
    interruptible: ClassVar[bool] = False
    """Whether ``do`` may be cancelled in the middle. Say so where it takes long and leaves nothing running behind (a
    thread goes on after its ``await`` was cancelled); otherwise a job that is cancelled waits for the step's end."""

    @classmethod
    def from_journal(cls, kind: str, arguments: Any) -> Step:
        """The step that a row describes; raises ``KeyError`` when no loaded plugin knows its kind."""
        return converter.structure(arguments, KINDS[kind])

    @classmethod
    def reversible(cls) -> bool:
        """Whether it can be taken back: whether it has an ``undo``."""
        return hasattr(cls, "undo")

    @classmethod
    def what(cls) -> str:
        """What it does, in a sentence: the first of the class's docstring."""
        return " ".join((cls.__doc__ or cls.kind).strip().partition("\n\n")[0].split())

    def acts_on(self) -> str | None:
        """What it does it to: by default its first argument."""
        fields = attrs.fields(type(self))  # type: ignore[arg-type]  # every step is an attrs class, by its decorator
        return str(getattr(self, fields[0].name)) if fields else None

    def to_journal(self) -> Any:
        """The arguments as plain data."""
        return unstructure(self)


@dataclass_transform(frozen_default=True)
def step[S: Step](kind: str) -> Callable[[type[S]], type[S]]:
    """Make a class a step of that kind. Raises ``TypeError`` for a class without ``do``, ``ValueError`` for a kind
    that is taken or carries no version."""
    if "/" not in kind or not kind.rpartition("/")[2].isdigit():
        raise ValueError(f"step kind {kind!r} must end with its version, such as docker.pull_image/1")

    def decorate(cls: type[S]) -> type[S]:
        frozen = attrs.frozen(cls)
        if not hasattr(frozen, "do"):
            raise TypeError(f"{frozen.__qualname__}: a step needs do()")
        if kind in KINDS and _full_name(KINDS[kind]) != _full_name(frozen):
            raise ValueError(f"step kind {kind} is already that of {_full_name(KINDS[kind])}")
        frozen.kind = kind
        if frozen.stage is None:
            frozen.stage = kind.rpartition("/")[0].rpartition(".")[2]
        KINDS[kind] = frozen
        return frozen

    return decorate


def forget_steps(module: str) -> None:
    """Forget the steps of a module, which is about to be loaded anew."""
    for kind in [kind for kind, known in tuple(KINDS.items()) if known.__module__ == module]:
        del KINDS[kind]


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


class Runner(Protocol):
    """What a step's run needs of the job that it is part of."""

    @property
    def id(self) -> str:
        """The job's id."""

    def before_of(self, number: int) -> Any:
        """What ``before`` of the step of that number returned."""

    def advance(self, number: int, fraction: float) -> None:
        """A step is that far."""

    def result_of(self, kind: type[Step], before: int) -> Any:
        """The result of the nearest step of that class before number ``before``."""

    def note(self, number: int, error: RooftreeError) -> None:
        """Note what went wrong in a step that goes on without it."""

    async def wait(self, seconds: float) -> None:
        """Wait, and show that."""


class Run:
    """A step's view of the run it is part of."""

    def __init__(self, job: Runner, number: int) -> None:
        self._job = job
        self._number = number

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self._job.id

    def progress(self, done: float, total: float) -> None:
        """Say how far this step is; never runs backwards."""
        self._job.advance(self._number, done / total if total else 0.0)

    def note(self, error: RooftreeError) -> None:
        """Say what went wrong in this step that the job can do without, and go on: it is an error of the job that the
        step belongs to (of the innermost one, where that is a job in a job), and of no other."""
        self._job.note(self._number, error)

    async def wait(self, seconds: float) -> None:
        """Wait for something outside that is known to take so long; the job shows the stage ``waiting`` meanwhile."""
        await self._job.wait(seconds)

    def before[T](self, expected: type[T]) -> T:
        """What this step's own ``before`` returned when the step was begun, which may have been before a kill."""
        return converter.structure(self._job.before_of(self._number), expected)

    def result[T](self, kind: type[Step], expected: type[T]) -> T:
        """What the nearest earlier step of that class returned from ``do``, from the journal."""
        return converter.structure(self._job.result_of(kind, self._number), expected)


class Verbs:
    """The verbs of one step, with their services filled in at each call."""

    def __init__(self, step: Step, directory: ServiceDirectory) -> None:
        self._step = step
        self._directory = directory.beside_running(type(step).__module__)

    async def before(self) -> Any:
        """Look; plain data for the journal."""
        look = getattr(self._step, "before", None)
        if look is None:
            return None
        return unstructure(await look(**self._services(look)))

    async def do(self, run: Run) -> Any:
        """Do; plain data for the journal."""
        do: Any = self._step.do  # type: ignore[attr-defined]  # decorated steps have it, with parameters of their own
        wanted = {p.name: p.kind for p in parameters(do)}
        runs = {name: run for name, kind in wanted.items() if kind is Run}
        services = Injector(self._directory, {n: k for n, k in wanted.items() if n not in runs}).resolve()
        return unstructure(await do(**runs, **services))

    async def undo(self, before: Any) -> None:
        """Take back, given what the journal kept of ``before``."""
        undo = getattr(self._step, "undo", None)
        if undo is None:
            return
        look = getattr(self._step, "before", None)
        kind = get_type_hints(look).get("return", Any) if look is not None else Any
        await undo(converter.structure(before, kind), **self._services(undo, skip=1))

    async def fetch_bytes(self) -> int | None:
        """The bytes that the step will fetch; 0 for one that does not say, ``None`` where it can't know."""
        ask = getattr(self._step, "fetch_bytes", None)
        if ask is None:
            return 0
        amount: int | None = await ask(**self._services(ask))
        return amount

    async def notes(self) -> list[str]:
        """What else somebody should know before it is done, in sentences; none for one that does not say."""
        tell = getattr(self._step, "notes", None)
        return [] if tell is None else list(await tell(**self._services(tell)))

    def _services(self, verb: Callable[..., Any], skip: int = 0) -> dict[str, Any]:
        wanted = {p.name: p.kind for p in parameters(verb, skip)}
        return Injector(self._directory, wanted).resolve()
