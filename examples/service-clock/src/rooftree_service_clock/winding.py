"""Winding the clock: a job whose plan is one step, which can be taken back."""

from rooftree import Conflict, Invalid, Lock, Run, Step, Steps, job, step

from rooftree_service_clock.tower_clock import TowerClock


@step("clock.wind/1")
class Wind(Step):
    """Wind the spring."""

    to: int

    async def before(self, clock: TowerClock) -> int:
        """Look how far it is wound: what undo will need, journaled with the intent."""
        return clock.turns

    async def do(self, run: Run, clock: TowerClock) -> None:
        """Wind. A kill may let this happen twice, so it winds to a number of turns rather than by one."""
        await clock.wind_to(self.to)

    async def undo(self, before: int, clock: TowerClock) -> None:
        """Let the spring out again."""
        await clock.wind_to(before)


@job("clock_wind", locks=lambda turns: [Lock("clock", "main")])
async def wind(clock: TowerClock, turns: int) -> Steps:
    """Wind the clock by some turns. A plan looks and may refuse, and changes nothing."""
    if turns < 1:
        raise Invalid(f"turns: must be 1 or more, not {turns}")
    if clock.turns + turns > clock.full_turns:
        room = clock.full_turns - clock.turns
        raise Conflict(f"turns: {turns} would break the spring, which takes {room} more")
    return [Wind(clock.turns + turns)]
