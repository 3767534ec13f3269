"""The running system: every part of the kernel, put together and taken apart in order."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import secrets
import shutil
from collections.abc import Iterable
from datetime import timedelta
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import structlog
from attrs import frozen

from rooftree.access import ChangeRate, Tokens
from rooftree.clock import MACHINE, Clock
from rooftree.errors import RooftreeError, Unavailable
from rooftree.events import PROBLEMS, Event, EventBus, Problem, Problems, Task, TaskSupervisor
from rooftree.http import MAX_TOKEN, TRAFFIC, HttpServer
from rooftree.jobs import CONDITIONS, JOBS, Conditions, Jobs, Journal
from rooftree.model import Rate, check_key
from rooftree.plugins import METRICS, PLUGINS, Hooks, Installed, KernelParts, Metrics, Plugins
from rooftree.principal import Role
from rooftree.process import kernel_routes
from rooftree.process.loop_watchdog import LOOP_WATCHDOG, LoopBlocked, LoopWatchdog
from rooftree.process.past_problems import LOOK_EVERY, PastProblems
from rooftree.process.recent_logs import RecentLogs
from rooftree.process.task_problems import PROBLEM as TASK_PROBLEM
from rooftree.process.task_problems import TaskProblems
from rooftree.services import SERVICES, Service, ServiceDirectory
from rooftree.settings import Settings
from rooftree.state import AUDIT, AuditKeeping, AuditLog, Database, DataFolder, State, write_file_atomically

log = structlog.get_logger(__name__)

MIB = 1024 * 1024
UNPACKED = 3.0
"""How much room a fetched byte needs in the end: images travel compressed, and are unpacked beside what was fetched."""
COPY_EVERY = timedelta(hours=1)
"""How often the database is copied while it changes."""
LOOK_FOR_ROOM_EVERY = timedelta(minutes=1)
"""How often it is looked whether the data disk has room."""


class SystemState(enum.StrEnum):
    """Where the system is, in the words of the API."""

    SETUP = "setup"
    RUNNING = "running"
    FREEZE = "freeze"
    """It runs, and what is kept of the house is being copied, or put back."""
    STOPPING = "stopping"


@frozen
class SystemStateChanged(Event):
    """The system is somewhere else on its way than before."""

    state: SystemState


RECENT_LOGS = Service[RecentLogs]("recent_logs/1")
TOKENS = Service[Tokens]("tokens/1")
SETTINGS = Service[Settings]("settings/1")


class System:
    """Every part of the kernel. ``start`` it, let it run, ``stop`` it."""

    def __init__(
        self,
        settings: Settings,
        logs: RecentLogs,
        specifications: Iterable[ModuleType] = (),
        clock: Clock = MACHINE,
    ) -> None:
        self.settings = settings
        self.clock = clock
        self.logs = logs
        self.bus = EventBus()
        self.services = ServiceDirectory()
        self.tasks = TaskSupervisor(clock)
        self.hooks = Hooks(specifications, self._hook_failed)
        self.metrics = Metrics()
        self.state_now = SystemState.SETUP
        self._frozen_for: set[str] = set()
        self.port = 0
        self.data: DataFolder
        self.database: Database
        self.state: State
        self.problems: Problems
        self.tokens: Tokens
        self.audit: AuditLog
        self.conditions: Conditions
        self.jobs: Jobs
        self.server: HttpServer
        self.plugins: Plugins
        self.watchdog: LoopWatchdog
        self._closing = contextlib.AsyncExitStack()

    async def open(self) -> None:
        """Open the data folder and begin to answer; plugins are started by :meth:`start_plugins`.

        Raises :class:`~rooftree.errors.Conflict` when another process uses the folder.
        """
        try:
            await self._open()
        except BaseException:
            await self._closing.aclose()
            raise

    async def _open(self) -> None:
        kernel = self.settings.kernel
        await asyncio.to_thread(check_key)
        self.data = await asyncio.to_thread(DataFolder.open, kernel.data_dir)
        self._closing.push_async_callback(asyncio.to_thread, self.data.close)
        self.database = await Database.open(self.data, kernel.disk_reserve_mib * MIB)
        self._closing.push_async_callback(self.database.close)
        keeping = AuditKeeping(kernel.audit_entries, kernel.audit_share)
        rate = Rate(kernel.changes_per_minute, timedelta(minutes=1))
        change_rate = ChangeRate(rate, lambda name: self.tokens.kind(name), self.clock)  # noqa: PLW0108  # not made yet
        self.state = State(self.database, keeping, change_rate.note)
        self.problems = await Problems.load(self.state, self.bus)
        self._closing.push_async_callback(self.problems.written)
        self._forget_tasks_of_before()
        self.database.on_disk_full = self._disk_is_full
        await self._look_for_room()
        self.tokens = await Tokens.load(self.state, self.bus.publish)
        self.audit = AuditLog(self.database)
        self.conditions = await Conditions.load(self.state, self.problems)
        self._register_conditions()
        journal = await Journal.open(self.database, keeping)
        self.jobs = Jobs(journal, self.services, self.bus, self.conditions, self.problems, self.clock, change_rate.note)
        self.server = HttpServer(self.tokens, self._gate, secrets.token_hex(4), self.clock, kernel.in_flight_mib * MIB)
        self.plugins = await Plugins.load(self._parts(), kernel_routes.routes)
        self.tasks.watch = TaskProblems(self.problems, self.plugins.find)
        self.jobs.plugin_of = self.plugins.of_module
        self.watchdog = LoopWatchdog(self.data.path, kernel.blocked_exit_s, self.plugins.of_module, self.bus)
        past = PastProblems(self.problems, self.clock)
        self.bus.subscribe(LoopBlocked, past.blocked, "kernel")
        await self._look_at_the_end_before(past)
        self.watchdog.start()
        self._closing.push_async_callback(self.watchdog.stop)
        self._provide_own_services()
        await self._report_losses()
        await self._admin_token()
        await self.jobs.recover()
        await self.server.start()
        self._closing.push_async_callback(self.server.stop)
        self.port = await self.server.listen_tcp(kernel.host, kernel.port)
        await self.server.listen_unix(kernel.socket)
        self._closing.push_async_callback(asyncio.to_thread, _remove_socket, kernel.socket)
        self.tasks.start(Task("copy the database", self._copy, every=COPY_EVERY), "kernel")
        self.tasks.start(Task("forget what is long past", past.forget, every=LOOK_EVERY), "kernel")
        self.tasks.start(Task("look for room", self._look_for_room, every=LOOK_FOR_ROOM_EVERY), "kernel")
        self._closing.push_async_callback(self.tasks.stop, "kernel")
        log.info("listening", port=self.port, socket=str(kernel.socket))

    async def start_plugins(
        self, points: Iterable[EntryPoint] | None = None, in_files: Iterable[Installed] = ()
    ) -> None:
        """Load and start the plugins; the system runs when they have started or failed.

        :param points: the entry points of plugins and drivers; ``None``: what is installed
        :param in_files: plugins beside those, each in place of one of its name
        """
        await self.plugins.start(points, in_files)
        await self._report_losses()  # plugins load their documents, and may have found some damaged
        self._become(SystemState.RUNNING)
        for purpose in tuple(self._frozen_for):  # of a job that was taken up again
            self.freeze(purpose)

    async def stop(self) -> None:
        """Stop jobs, plugins and listeners, in this order, and close the database."""
        self._become(SystemState.STOPPING)
        await asyncio.sleep(0)  # who listens hears of it before its plugin stops
        self.server.end_streams()
        await self.jobs.stop(self.settings.kernel.stop_timeout_s / 2)
        await self.plugins.stop()
        await self._closing.aclose()

    def freeze(self, purpose: str) -> None:
        """Be in the state ``freeze`` from now on, as long as anybody has a purpose for it."""
        self._frozen_for.add(purpose)
        if self.state_now is SystemState.RUNNING:
            self._become(SystemState.FREEZE)

    def thaw(self, purpose: str) -> None:
        """Be in that state no longer for this purpose; nothing to do where it was not."""
        self._frozen_for.discard(purpose)
        if self.state_now is SystemState.FREEZE and not self._frozen_for:
            self._become(SystemState.RUNNING)

    def _become(self, state: SystemState) -> None:
        self.state_now = state
        self.bus.publish(SystemStateChanged(state))

    def _parts(self) -> KernelParts:
        return KernelParts(
            settings=self.settings,
            clock=self.clock,
            data=self.data,
            state=self.state,
            bus=self.bus,
            services=self.services,
            problems=self.problems,
            tasks=self.tasks,
            tokens=self.tokens,
            conditions=self.conditions,
            hooks=self.hooks,
            metrics=self.metrics,
            jobs=self.jobs,
            server=self.server,
        )

    def _gate(self, owner: str) -> RooftreeError | None:
        return self.plugins.gate(owner)

    def _forget_tasks_of_before(self) -> None:
        """Tasks begin anew with the process; one that still fails is told again."""
        for problem in self.problems:
            if problem.type == TASK_PROBLEM:
                self.problems.clear(problem.type, problem.context, problem.reference)

    def _provide_own_services(self) -> None:
        for key, service in (
            (JOBS, self.jobs),
            (AUDIT, self.audit),
            (CONDITIONS, self.conditions),
            (PROBLEMS, self.problems),
            (PLUGINS, self.plugins),
            (METRICS, self.metrics),
            (LOOP_WATCHDOG, self.watchdog),
            (TRAFFIC, self.server.traffic),
            (TOKENS, self.tokens),
            (SETTINGS, self.settings),
            (RECENT_LOGS, self.logs),
            (SERVICES, self.services),
            (SYSTEM, self),
        ):
            self.services.provide(key, service, "kernel")

    def _register_conditions(self) -> None:
        async def healthy(fetch_bytes: int) -> str | None:
            wrong = [problem.type for problem in self.problems if problem.severity == "unhealthy"]
            return f"the system is unhealthy: {', '.join(wrong)}; mend that first" if wrong else None

        async def running(fetch_bytes: int) -> str | None:
            return None if self.state_now is SystemState.RUNNING else f"the system is not running: {self.state_now}"

        async def free_space(fetch_bytes: int) -> str | None:
            free = await asyncio.to_thread(lambda: shutil.disk_usage(self.data.path).free)
            need = self.settings.kernel.min_free_mib * MIB + round(fetch_bytes * UNPACKED)
            if free >= need:
                return None
            return f"{free // MIB} MiB are free on the data disk, and it needs {need // MIB}; make room there"

        async def frozen(fetch_bytes: int) -> str | None:
            return None if self.state_now is SystemState.FREEZE else f"the system is not frozen: {self.state_now}"

        checks = (("healthy", healthy), ("running", running), ("frozen", frozen), ("free_space", free_space))
        for name, check in checks:
            self.conditions.register(name, check, "kernel")
        self.conditions.report()

    async def _report_losses(self) -> None:
        """Turn what was found damaged into problems, which stay; each loss is reported once."""
        for loss in self.database.losses:
            self.problems.report(Problem("state_damaged", "system", loss.id, loss.message, severity="unhealthy"))
            await self.problems.written()
            with contextlib.suppress(Unavailable):  # on a full disk it is reported again at the next start
                await self.state.commit(self.database.forget_loss(loss))

    async def _look_at_the_end_before(self, past: PastProblems) -> None:
        """Tell where an earlier process ended without being told to. The plugin stays disabled whose code blocked the
        event loop then."""
        block = await asyncio.to_thread(self.watchdog.left_behind)
        if block is not None or self.data.was_left:
            past.ended(block)
        if block is None:
            return
        log.error("ended_while_blocked", plugin=block.plugin, where=block.where)
        if block.plugin is not None:
            reason = f"it blocked the event loop in {block.where} until Rooftree ended; enable it when that is mended"
            await self.plugins.stay_disabled(block.plugin, reason)
        await asyncio.to_thread(self.watchdog.forget)

    async def _copy(self) -> None:
        try:
            await self.database.copy()
        except Unavailable as error:
            self.problems.report(Problem("state_copy_failed", "system", None, error.message))
        else:
            self.problems.clear("state_copy_failed")

    async def _look_for_room(self) -> None:
        """Keep the reserve for a full disk, and tell when there is no room for it."""
        if await self.database.keep_reserve():
            self.problems.clear("free_space")
        else:
            self._disk_is_full()

    def _disk_is_full(self) -> None:
        self.problems.report(
            Problem(
                "free_space",
                "system",
                None,
                f"The disk with the data folder {self.data.path} is full: changes are refused. Stop or uninstall "
                "what runs here, or delete files there; that stays possible for a while",
            )
        )

    async def _admin_token(self) -> None:
        """Make the administrator's token at the first start, in a file that only the daemon's user can read.

        Where that can't be written, the unix socket still knows its administrators, and the next start tries again.
        """
        path = self.data.path / "admin-token"
        text = await asyncio.to_thread(_read_token, path)
        if text is None or self.tokens.principal(text) is None:
            fresh = self.tokens.new("token", "admin", Role.ADMIN)
            try:
                await self.state.commit(*map(self.tokens.revocation, self.tokens.known("token", "admin")), fresh.change)
                await asyncio.to_thread(write_file_atomically, path, f"{fresh.text}\n".encode(), 0o600)
            except (Unavailable, OSError) as error:
                sentence = f"The administrator's token can't be written to {path}: {error}. Mend that, then restart"
                self.problems.report(Problem("admin_token_not_written", "system", None, sentence))
                return
            log.info("admin_token_written", path=str(path))
        self.problems.clear("admin_token_not_written")

    def _hook_failed(self, plugin: str, hook: str, error: BaseException | None) -> None:
        reference = f"{plugin}.{hook}"
        if error is None:
            self.problems.clear("hook_failed", "plugin", reference)
            return
        sentence = f"Plugin {plugin} failed in {hook}: {type(error).__name__}: {error}"
        self.problems.report(Problem("hook_failed", "plugin", reference, sentence))


SYSTEM = Service[System]("system/1")


def _read_token(path: Path) -> str | None:
    """The token in the file; ``None`` where there is none, or the file is no text, or no file."""
    try:
        if path.stat().st_mode & 0o077:
            path.chmod(0o600)
        with path.open() as file:
            return file.read(MAX_TOKEN).strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _remove_socket(path: Path) -> None:
    """Take the socket away; where the disk refuses that, the next start does it."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        log.warning("socket_not_removed", path=str(path), reason=error.strerror)
