"""Core's container: what Core is, told to the library that looks after it, and all that the engine is told."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

from attrs import evolve

from rooftree import Kernel, RooftreeError
from rooftree.interfaces.callers import CORE
from rooftree.interfaces.containers import (
    CONTAINER_ENGINE,
    AddonNetwork,
    ContainerSpec,
    DataPath,
    EngineRefused,
    HostPath,
    Mount,
)
from rooftree.interfaces.preferences import INSTALLATION_PREFERENCES
from rooftree_containers import ContainerErrors, DomainNames, ManagedContainer, Stage, UpdateRolledBack
from rooftree_containers.cid_file import cid_file, cid_mount, write_cid
from rooftree_containers.standing import pulled_if_missing
from rooftree_containers.timezone import host_timezone
from rooftree_files import Folder
from rooftree_homeassistant.core_health import CoreHealth
from rooftree_homeassistant.core_options import CoreOptions
from rooftree_homeassistant.home_assistant import (
    CONTAINER,
    CONTEXT,
    NAME,
    SOCKET,
    SOCKET_FOLDER,
    CoreContainer,
    HomeAssistant,
    has_socket,
)
from rooftree_homeassistant.installation import PrivilegesPerhapsRefused

PLUGIN: Final = "homeassistant"


class CoreUpdateRolledBack(UpdateRolledBack):
    """A new version of Core does not work here, and the one before is back. ``extra_fields``: ``container``."""

    error_key = "homeassistant_update_error"


NAMES: Final = DomainNames(
    plugin=PLUGIN,
    owner="homeassistant",
    context=CONTEXT,
    tokens=CORE.name,
    kept_folder="kept/core",
    errors=ContainerErrors(rolled_back=CoreUpdateRolledBack),
)
CONFIG: Final = DataPath("homeassistant")
"""Core's configuration, history among it; in the container ``/config``."""
SHARED: Final = ("homeassistant", "media", "share", "ssl")
"""The folders below the data folder that it is shown; they are there from the first start."""
STOP_TIMEOUT_S: Final = 260
"""What an image of Core gets to end that does not say how long its services need."""
GRACE_TIME: Final = "S6_SERVICES_GRACETIME"
"""The variable by which it says that, in milliseconds."""
MORE_THAN_GRACE_S: Final = 20
LONGEST_GRACE_S: Final = 1800
HISTORY: Final = ("home-assistant_v2.db", "home-assistant_v2.db-wal", "home-assistant_v2.db-shm")
"""Of the configuration, what happened in the home: often many times as large as the rest, and going on meanwhile."""
STAYS: Final = ("backups", "tmp_backups", "tts")
"""Of the configuration, what no update changes."""
OOM_SCORE: Final = -300
_SOCKET_TARGET: Final = "/run/supervisor"
_WITHOUT_PRIVILEGES: Final = ("NET_ADMIN", "NET_RAW")
"""What Core's Bluetooth and DHCP discovery need of the network."""
_MAJORS: Final = (166, 188, 204, 29, 81, 226, 180, 189)
"""Serial ports, cameras and screens, USB; of devices.txt in the kernel's documentation."""
_DRIVERS: Final = ("cec", "gpiochip", "gpiomem", "hidraw", "media", "rpivid-", "vchiq")
"""Such devices whose major numbers the running kernel chose: how the names of their drivers begin."""


def described(core: HomeAssistant, health: CoreHealth, name: str, state: CoreContainer) -> ManagedContainer:
    return ManagedContainer(
        name=name,
        version=state.version,
        image=state.image,
        desired=state.desired,
        specification=partial(specification, core, state),
        prepare=partial(asyncio.to_thread, prepare, core.kernel.data.path),
        makes=frozenset({*SHARED, SOCKET_FOLDER, cid_file(CONTAINER)}),
        missing_image=pulled_if_missing(core.kernel, state.image),
        reused=True,
        stage=Stage.CORE,
        starts_with_host=core.options.boot,
        stop_timeout_s=STOP_TIMEOUT_S,
        asked_stop_timeout_s=partial(asked_stop_timeout_s, core.kernel, state.image),
        watched=core.options.watchdog,
        probe=health.complaint,
        ready=health.works,
        ready_within=timedelta(0),  # it waits by itself, as long as Core needs
        kept_for_roll_back={"config": CONFIG},
        stays_at_roll_back=STAYS if core.container_settings.keep_history else (*STAYS, *HISTORY),
        probation=core.container_settings.probation,
        start_refused=partial(start_refused, core.container_settings.privileged),
        created=lambda container_id: asyncio.to_thread(write_cid, core.kernel.data.path, CONTAINER, container_id),
    )


def start_refused(privileged: bool, error: RooftreeError) -> RooftreeError:
    """What to say where the engine does not start it."""
    if not (privileged and isinstance(error, EngineRefused)):
        return error
    return PrivilegesPerhapsRefused(
        f"{error.message}. If this engine can't give a container all rights, because it runs in one itself, say "
        f"privileged = false in [plugins.{PLUGIN}] of rooftree.toml"
    )


def prepare(data: Path) -> None:
    """Make what Core is shown, where it is missing. Blocks."""
    with Folder.open(data) as root:
        for folder in SHARED:
            root.make(folder).close()
        root.make(SOCKET_FOLDER, 0o700).close()
    write_cid(data, CONTAINER, "")


async def asked_stop_timeout_s(kernel: Kernel, image: str) -> int | None:
    """How many seconds an image of Core needs to end, as it says; ``None`` where it says nothing that is one."""
    known = await kernel.service(CONTAINER_ENGINE).image(image)
    text = known.environment.get(GRACE_TIME, "") if known is not None else ""
    if not (text.isascii() and text.isdecimal() and len(text) < 20):  # a number, and not without end
        return None
    return MORE_THAN_GRACE_S + min(int(text) // 1000, LONGEST_GRACE_S)


async def timezone_of(kernel: Kernel) -> str:
    """The IANA name of the time zone that the user chose, or the host's."""
    preferences = kernel.find(INSTALLATION_PREFERENCES)
    timezone = preferences.timezone if preferences is not None else None
    return timezone if timezone is not None else await asyncio.to_thread(host_timezone)


async def specification(core: HomeAssistant, state: CoreContainer, token: str) -> ContainerSpec:
    """All that the engine is told of Core."""
    timezone = await timezone_of(core.kernel)
    network = await core.kernel.service(CONTAINER_ENGINE).network()
    asked_s = await asked_stop_timeout_s(core.kernel, state.image)
    privileged = core.container_settings.privileged
    spec = await asyncio.to_thread(_specification, core.options, state, token, privileged, network, timezone)
    of_restore = {} if core.restore_job is None else {"SUPERVISOR_RESTORE_JOB_ID": core.restore_job}
    return evolve(
        spec,
        stop_timeout_s=STOP_TIMEOUT_S if asked_s is None else asked_s,
        environment={**spec.environment, **of_restore},
    )


def _specification(
    options: CoreOptions,
    state: CoreContainer,
    token: str,
    privileged: bool,
    network: AddonNetwork,
    timezone: str,
) -> ContainerSpec:
    """Looks at system paths: call it in a thread."""
    with_socket = has_socket(state.version)
    return ContainerSpec(
        name=CONTAINER,
        image=state.image,
        hostname="homeassistant",
        environment=_environment(options, token, network, timezone, with_socket=with_socket),
        mounts=_mounts(with_socket=with_socket),
        network="host",
        extra_hosts={"supervisor": network.supervisor, "hassio": network.supervisor},
        privileged=privileged,
        capabilities=() if privileged else _WITHOUT_PRIVILEGES,
        device_rules=() if privileged else device_rules(),
        security_options=("seccomp=unconfined",),
        tmpfs=("/tmp",),  # noqa: S108  # the container's
        init=False,
        oom_score_adjust=OOM_SCORE if privileged else 0,  # to be spared takes a capability of the engine's own
    )


def device_rules(devices: Path = Path("/proc/devices")) -> tuple[str, ...]:
    """The devices that Core may use where it has not all. Blocks for a moment.

    :param devices: the kernel's list of drivers with their major numbers, proc(5)
    """
    characters = devices.read_text(encoding="ascii").partition("Block devices:")[0]  # ours: the kernel's
    rows = [line.split() for line in characters.splitlines()]
    dynamic = [int(row[0]) for row in rows if len(row) == 2 and row[0].isdigit() and row[1].startswith(_DRIVERS)]
    return tuple(f"c {major}:* rwm" for major in dict.fromkeys((*_MAJORS, *dynamic)))


def _environment(
    options: CoreOptions, token: str, network: AddonNetwork, timezone: str, *, with_socket: bool
) -> dict[str, str]:
    return {
        "SUPERVISOR": network.supervisor,
        "HASSIO": network.supervisor,
        "TZ": timezone,
        "SUPERVISOR_TOKEN": token,
        "HASSIO_TOKEN": token,
        **({"SUPERVISOR_CORE_API_SOCKET": f"{_SOCKET_TARGET}/{SOCKET}"} if with_socket else {}),
        **({"HA_DUPLICATE_LOG_FILE": "1"} if options.duplicate_log_file else {}),
    }


def _mounts(*, with_socket: bool) -> tuple[Mount, ...]:
    """What it is shown; a path that the host does not have is left out."""
    of_host = [
        Mount(HostPath(path), path, read_only=True)
        for path in ("/run/dbus", "/run/udev", "/etc/machine-id")
        if Path(path).exists()  # ours: the host's own
    ]
    return (
        Mount(HostPath("/dev"), "/dev", read_only=True, recursive=False),
        *of_host,
        Mount(CONFIG, "/config"),
        Mount(DataPath("ssl"), "/ssl", read_only=True),
        Mount(DataPath("share"), "/share", propagation="rslave"),
        Mount(DataPath("media"), "/media", propagation="rslave"),
        *([Mount(DataPath(SOCKET_FOLDER), _SOCKET_TARGET)] if with_socket else []),
        cid_mount(CONTAINER),
    )


TITLES: Final = {NAME: "Home Assistant Core"}
