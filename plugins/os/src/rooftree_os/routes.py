"""The routes of OS: so far ``/os/boards/…``."""

from __future__ import annotations

from rooftree import Jobs, Role, Routes, role
from rooftree_os.board_options import change_board
from rooftree_os.boards import Boards
from rooftree_os.models import BoardName, BoardOptions

routes = Routes()
MANAGER = role(Role.MANAGER)


@routes.get("/os/boards/{board}", access=MANAGER)
async def board(boards: Boards, board: BoardName) -> BoardOptions:
    """The settings of the board that this machine is; which there are, its driver says."""
    return await boards.read(board)


@routes.post("/os/boards/{board}", access=MANAGER, starts=change_board)
async def set_board(jobs: Jobs, board: BoardName, body: BoardOptions) -> None:
    """Change settings of the board; what is absent stays."""
    await jobs.run(change_board, board=board, changes=body)
