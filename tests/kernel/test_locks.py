"""Locks are taken together, in order of arrival."""

from __future__ import annotations

import asyncio
import random

from hypothesis import given
from hypothesis import strategies as st

from rooftree import Lock
from rooftree.jobs.locks import LockTable, read, written


def locks(names: str) -> frozenset[Lock]:
    """A lock for each letter; a capital one is shared."""
    return frozenset(Lock("addon", name.lower(), shared=name.isupper()) for name in names)


class Queue:
    """Jobs that ask for locks, and the order in which they got them."""

    def __init__(self) -> None:
        self.table = LockTable()
        self.got: list[str] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, job: str, names: str) -> None:
        async def take() -> None:
            await self.table.take(locks(names), job)
            self.got.append(job)

        self.tasks[job] = asyncio.create_task(take())
        await self.settled()

    async def give_back(self, job: str) -> None:
        self.table.release(job)
        await self.settled()

    async def settled(self) -> None:
        for _ in range(3):
            await asyncio.sleep(0)


async def test_who_comes_first_is_served_first() -> None:
    queue = Queue()
    for job in ("1", "2", "3"):
        await queue.ask(job, "a")
    assert queue.got == ["1"]

    await queue.give_back("1")
    assert queue.got == ["1", "2"]

    await queue.give_back("2")
    assert queue.got == ["1", "2", "3"]


async def test_different_things_do_not_wait_for_each_other() -> None:
    queue = Queue()
    for job, names in (("1", "a"), ("2", "b"), ("3", ""), ("4", "")):
        await queue.ask(job, names)

    assert queue.got == ["1", "2", "3", "4"]


async def test_late_small_job_does_not_overtake_an_earlier_large_one_on_the_same_thing() -> None:
    queue = Queue()
    await queue.ask("holds a", "a")
    await queue.ask("wants all", "ab")
    await queue.ask("wants b", "b")
    await queue.ask("wants c", "c")
    assert queue.got == ["holds a", "wants c"]

    await queue.give_back("holds a")
    assert queue.got == ["holds a", "wants c", "wants all"]

    await queue.give_back("wants all")
    assert queue.got[-1] == "wants b"


async def test_crosswise_wishes_do_not_deadlock() -> None:
    queue = Queue()
    await queue.ask("1", "ab")
    await queue.ask("2", "ba")
    await queue.ask("3", "bc")
    await queue.ask("4", "ca")
    for job in ("1", "2", "3", "4"):
        await queue.give_back(job)

    assert queue.got == ["1", "2", "3", "4"]


async def test_cancelled_wait_lets_the_next_one_through() -> None:
    queue = Queue()
    await queue.ask("1", "a")
    await queue.ask("2", "ab")
    await queue.ask("3", "b")

    queue.tasks["2"].cancel()
    await queue.settled()

    assert queue.got == ["1", "3"]


async def test_cancelled_at_the_moment_of_being_served_holds_nothing() -> None:
    queue = Queue()
    await queue.ask("1", "a")
    await queue.ask("2", "a")
    await queue.ask("3", "a")

    queue.table.release("1")
    queue.tasks["2"].cancel()
    await queue.settled()

    assert queue.got == ["1", "3"]


async def test_those_who_share_a_thing_do_not_wait_for_each_other_but_for_who_changes_it() -> None:
    queue = Queue()
    for job, names in (("1", "A"), ("2", "Ab"), ("changes", "a"), ("3", "A"), ("4", "aA")):
        await queue.ask(job, names)
    assert queue.got == ["1", "2"]
    assert queue.table.holders(locks("A")) == ["changes", "4"]
    assert queue.table.holders(locks("a")) == ["1", "2", "changes", "3", "4"]

    await queue.give_back("1")
    assert queue.got == ["1", "2"]
    await queue.give_back("2")
    assert queue.got == ["1", "2", "changes"]
    await queue.give_back("changes")
    assert queue.got == ["1", "2", "changes", "3"]
    await queue.give_back("3")
    assert queue.got[-1] == "4"


def test_locks_come_out_of_the_journal_as_they_went_in() -> None:
    for names in ("", "a", "A", "bAc"):
        assert read(written(locks(names))) == locks(names)
    assert written(locks("bA")) == (("addon", "a", "shared"), ("addon", "b"))
    assert read([["addon", "a"]]) == locks("a")


@given(
    st.lists(st.text(st.sampled_from("abcdABC"), max_size=3), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_every_job_gets_its_turn_and_none_has_a_thing_that_another_changes(
    wishes: list[str], chance: random.Random
) -> None:
    async def main() -> None:
        table, held, done = LockTable(), list[Lock](), list[int]()

        async def work(number: int, wanted: frozenset[Lock]) -> None:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            await table.take(wanted, str(number))
            names = {lock.name: lock.shared and Lock("addon", lock.name) not in wanted for lock in wanted}
            assert all(lock.shared and names[lock.name] for lock in held if lock.name in names)
            held.extend(wanted)
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
            for lock in wanted:
                held.remove(lock)
            table.release(str(number))
            done.append(number)

        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            for number, names in enumerate(wishes):
                group.create_task(work(number, locks(names)))
        assert len(done) == len(wishes)

    with asyncio.Runner() as runner:
        runner.run(main())


async def test_long_queue_is_served_to_the_end_in_order() -> None:
    queue, number = Queue(), 200
    for job in range(number):
        await queue.ask(str(job), "ab" if job % 2 else "bc")
    for job in range(number):
        await queue.give_back(str(job))

    assert queue.got == [str(job) for job in range(number)]
