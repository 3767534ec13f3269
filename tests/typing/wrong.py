"""Mistakes that a type checker has to find. Each comment ``E:`` is a part of what it says about its line."""

from __future__ import annotations

from datetime import timedelta

from attrs import frozen

from rooftree import (
    Collection,
    Event,
    Kernel,
    Plugin,
    Problem,
    Role,
    Routes,
    Run,
    Service,
    Step,
    Task,
    document,
    job,
    role,
    step,
)


@document("typing.count", version=1)
@frozen
class Count:
    number: int


class Counter: ...


COUNTER = Service[Counter]("counter/1")
routes = Routes()


@step("typing.count/1")
class Add(Step):
    number: int

    async def do(self, run: Run) -> None: ...


class CountPlugin(Plugin):
    name = 7  # E: Incompatible types in assignment
    provides = (Counter,)  # E: Incompatible types in assignment

    async def setup(self, kernel: Kernel) -> None:
        kernel.provide(COUNTER, "a text")  # E: Cannot infer value of type parameter "T" of "provide"
        counts: Collection[str] = await kernel.collection(Count)  # E: Argument 1 to "collection"
        counts.put("a", Count(1))  # E: Argument 2 to "put"
        found: Counter = kernel.find(COUNTER)  # E: Incompatible types in assignment
        found.add(1)  # E: "Counter" has no attribute "add"
        kernel.on(Count, self.heard)  # E: Value of type variable "E" of "on"
        kernel.publish(Count(1))  # E: Argument 1 to "publish"
        kernel.problems.report(Problem("full", severity="bad"))  # E: Argument "severity" to "Problem"
        kernel.problem.report(Problem("full"))  # E: has no attribute "problem"

    def routes(self) -> list[str]:  # E: Return type "list[str]" of "routes" incompatible
        return []

    async def heard(self, event: Event) -> None: ...


def blocking() -> None: ...


Task("tick", blocking)  # E: Argument 2 to "Task"
Task("tick", every=timedelta(hours=1))  # E: Missing positional argument "run"
Add("seven")  # E: Argument 1 to "Add"
Add(7).number = 8  # E: Property "number" defined in "Add" is read-only


@job("typing_count")  # E: Argument 1 has incompatible type
def plan() -> list[Step]:
    return [Add(1)]


@routes.get("/count")  # E: Missing named argument "access"
def show() -> Count:
    return Count(1)


@routes.get("/count", access=Role.DEFAULT)  # E: Argument "access" to "get"
def show_again() -> Count:
    return Count(1)


role("manager")  # E: Argument 1 to "role"
