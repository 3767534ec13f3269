"""Changing a board's settings: a change to the world, so a job that can be looked at, taken back and found again."""

from __future__ import annotations

from attrs import frozen

from rooftree import Lock, Step, Steps, job, step
from rooftree_os.boards import Boards
from rooftree_os.models import BoardName, BoardOptions
from rooftree_os.reboot import RequireReboot


@frozen
class _Before:
    """What an undo needs."""

    values: BoardOptions
    kept: BoardOptions | None


@step("os.write_board/1")
class WriteBoard(Step):
    """Set a board to these settings, and keep them."""

    board: BoardName
    values: BoardOptions

    async def before(self, boards: Boards) -> _Before:
        """The settings it has, and those that were kept."""
        return _Before(await boards.read(self.board), boards.kept(self.board))

    async def do(self, boards: Boards) -> None:
        """Write, then keep what was written."""
        await boards.change(self.board, self.values, self.values)

    async def undo(self, before: _Before, boards: Boards) -> None:
        await boards.change(self.board, before.values, before.kept)


@job("os_board_options", reference="board", locks=lambda board, changes: [Lock("board", board)])
async def change_board(boards: Boards, board: BoardName, changes: BoardOptions) -> Steps:
    """Change some of a board's settings; what is absent stays."""
    wanted = await boards.merged(board, changes)
    if wanted == await boards.read(board) == boards.kept(board):
        return []
    write = WriteBoard(board, wanted)
    if not boards.needs_reboot(board):
        return [write]
    return [write, RequireReboot(f"The changed settings of board {board} are in use after a reboot")]
