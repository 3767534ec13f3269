"""A machine with systemd, D-Bus, journald, a Docker Engine and the rest, in one container of the machine's engine.

What a daemon on that machine would find below ``/run`` is below :attr:`Host.run_dir`, and folders below
:attr:`Host.shared` are there under the same path, so that a daemon of this checkout can run against it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import evolve

from tests.host.rig.image import FAMILY_LABEL, test_host_image
from tests.host.rig.os_agent import OsAgent
from tests.host.rig.releases import HomeAssistantOs
from tests.plugins.host.loop_devices import LoopDevice, unused_loop_device
from tests.rig.engine import Engine, Surroundings
from tests.rig.waiting import wait_until

HOSTNAME = "testhost"
BOOT_S = 60.0
STOP_S = 30.0
FOLDER_LABEL = f"{FAMILY_LABEL}.folder"
LOOP_DEVICES = ("b 7:* rwm", "c 10:237 rwm")
IMAGES = "/var/lib/docker"
FUSE = ("c 10:229 rwm",)
"""With these all that it may touch of the machine's devices, in the words of the devices cgroup."""
NOT_ITS_OWN = ("SYS_RESOURCE", "SYS_TIME", "SYS_MODULE")
"""Capabilities that would reach beyond it: the clock and the kernel are the machine's. (The first is one that not every
machine has to give.)"""
AS_ON_THE_HOST = """\
mount --bind "$0" /run
mount --bind /run/test-host/boot-id /proc/sys/kernel/random/boot_id
mount -t sysfs sysfs /sys
exec "$@"
"""


class Host:
    """One host, booted or not."""

    def __init__(self, engine: Engine, image: str, *, in_memory: bool) -> None:
        self.machine = engine
        self.image = image
        self._images = ("--tmpfs", f"{IMAGES}:exec") if in_memory else ("--volume", IMAGES)
        self.folder = Path(tempfile.mkdtemp(prefix="rth-"))  # short, because of the sockets in it
        self.name = f"rooftree-{self.folder.name}"
        self.run_dir = self.folder / "run"
        self.shared = self.folder / "shared"
        self.agent = OsAgent(self, self.folder / "os-agent")
        self._visited = False
        self._owner = (self.folder / "owner").open("w", encoding="ascii")
        fcntl.flock(self._owner, fcntl.LOCK_EX)  # until this process ends, however it does
        for folder in (self.run_dir, self.shared, self.agent.folder):
            folder.mkdir()
        # The host's mounts below it are to be seen here, which needs a mount that is shared, even where / isn't.
        for arguments in (["--bind", self.shared, self.shared], ["--make-shared", self.shared]):
            subprocess.run(["mount", *arguments], check=True)

    @property
    def engine_socket(self) -> Path:
        """Its Docker Engine, which logs to its journal."""
        return self.run_dir / "docker.sock"

    @property
    def bus_socket(self) -> Path:
        """Its system bus."""
        return self.run_dir / "dbus" / "system_bus_socket"

    @property
    def bus_address(self) -> str:
        """Its system bus, as in ``DBUS_SYSTEM_BUS_ADDRESS``."""
        return f"unix:path={self.bus_socket}"

    @property
    def journal_socket(self) -> Path:
        """HTTP of systemd-journal-gatewayd."""
        return self.run_dir / "systemd-journal-gatewayd.sock"

    @property
    def pulse_socket(self) -> Path:
        """PulseAudio, with two sinks and a source that lead nowhere."""
        return self.run_dir / "pulse" / "native"

    @property
    def engine(self) -> Engine:
        """Its Docker Engine; daemons on it live as if the host were their machine."""
        return Engine(
            f"unix://{self.engine_socket}",
            Surroundings(
                folder=self.shared,
                command=("unshare", "--mount", "--propagation", "slave", "sh", "-ec", AS_ON_THE_HOST, self.run_dir),
                environment={
                    "DOCKER_HOST": f"unix://{self.engine_socket}",
                    "DBUS_SYSTEM_BUS_ADDRESS": self.bus_address,
                    "PULSE_SERVER": f"unix:{self.pulse_socket}",
                },
            ),
        )

    @property
    def visible_engine(self) -> Engine:
        """Its engine, on which daemons are seen by NetworkManager, which shows profiles to no others."""
        inside = ("nsenter", f"--target={self.process}", "--pid", "--", "setpriv", "--pdeathsig", "KILL")
        engine = self.engine
        around = evolve(engine.surroundings, command=(*inside, *engine.surroundings.command))
        return Engine(f"unix://{self.engine_socket}", around)

    @property
    def running(self) -> bool:
        """Whether it is on."""
        return bool(self.machine.container(self.name)["State"]["Running"])

    @property
    def process(self) -> int:
        """The machine's id of its first process."""
        return int(self.machine.container(self.name)["State"]["Pid"])

    @property
    def boot_id(self) -> str:
        """The id of this boot, as in the journal."""
        return (self.run_dir / "test-host" / "boot-id").read_text(encoding="ascii").strip().replace("-", "")

    def boot(self) -> None:
        """Turn it on and wait until systemd has nothing more to start. Raises :class:`TimeoutError`."""
        shutil.rmtree(self.run_dir)  # on a real machine it is in memory
        self.run_dir.mkdir()
        if self.machine.containers(name=f"^/{self.name}$"):
            self.machine.run("start", self.name)
        else:
            self._create()
        try:
            wait_until(self._is_up, within_s=BOOT_S, what="the end of the boot")
        except TimeoutError as error:
            error.add_note(self.machine.run("logs", "--tail", "20", self.name))
            raise
        if self._visited:
            self._enter_network()

    def shut_down(self) -> None:
        """Turn it off as its own ``poweroff`` does."""
        self.machine.run("stop", "--time", str(int(STOP_S)), self.name)

    def wait_until_off(self) -> None:
        """Wait until somebody has turned it off or rebooted it: a container can't tell these apart."""
        wait_until(lambda: not self.running, within_s=STOP_S, what="the end of the host")

    def restart(self) -> None:
        """Shut it down and boot it again; its disks keep what is on them."""
        self.shut_down()
        self.boot()

    def run(self, *command: str | Path, data: bytes | None = None) -> str:
        """The output of a command inside. Raises :class:`RuntimeError` with what it printed when it fails.

        It is in no control group of the host's; nothing that is run this way asks for its own.

        :param data: its standard input
        """
        return self.machine.enter(self.name, *map(str, command), data=data, processes=True)

    def systemctl(self, *arguments: str) -> str:
        """``systemctl ARGUMENTS…``."""
        return self.run("systemctl", *arguments)

    def journal(self, *arguments: str) -> list[str]:
        """The messages of ``journalctl ARGUMENTS…``."""
        return self.run("journalctl", "--no-pager", "--output=cat", *arguments).splitlines()

    def become(self, release: HomeAssistantOs) -> None:
        """Be that operating system on that board, from now on and after each boot, until :meth:`reset`."""
        self.run("tee", "/var/lib/rauc/rootfs.A", data=release.image())
        self.run("/usr/lib/test-host/release", "A")
        self.systemctl("stop", "systemd-hostnamed.service")  # reads it at its next start
        self.agent.configure(board=release.agent_board)

    def reset(self) -> None:
        """Take back what tests usually change: see ``image/files/usr/lib/test-host/reset``. Booted again only where it
        was turned off, or had booted what an update installed."""
        if not self.running:
            self.boot()
        self.run("/usr/lib/test-host/reset")
        if "rauc.slot=A" not in (self.run_dir / "test-host" / "cmdline").read_text(encoding="ascii"):
            self.restart()

    @contextmanager
    def network(self) -> Iterator[None]:
        """Inside the block this thread, and what it starts, is in the host's network: its loopback, its bridges. When
        the host is booted meanwhile, that is the new one; processes that were there before are not moved."""
        here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        before, self._visited = self._visited, True
        try:
            self._enter_network()
            yield
        finally:
            self._visited = before
            os.setns(here, os.CLONE_NEWNET)
            os.close(here)

    @contextmanager
    def loop_device(self, size_bytes: int) -> Iterator[str]:
        """A block device of that size that appears in the host, and vanishes again; its path there."""
        disk = self.shared / f"disk-{secrets.token_hex(4)}"
        with disk.open("wb") as file:
            file.truncate(size_bytes)
        device = self.run("/usr/lib/test-host/loop-device", disk)
        try:
            yield device
        finally:
            self.run("losetup", "--detach", device)
            disk.unlink()

    @contextmanager
    def disk(self, size_bytes: int, *, vendor: str, model: str, serial: str) -> Iterator[str]:
        """A loop device of its own that udev calls a disk of that make, so that UDisks2 knows a drive; its path.
        It comes and goes for real: after made-up uevents UDisks2 waits in vain for what it has changed."""
        rule = f"/run/udev/rules.d/90-{serial}.rules"
        content = self.shared / f"disk-{secrets.token_hex(4)}"
        with content.open("wb") as file:
            file.truncate(size_bytes)
        with unused_loop_device() as device:
            udev = f'KERNEL=="loop{device.number}", ENV{{ID_SERIAL}}="{vendor}_{model}_{serial}", '
            udev += f'ENV{{ID_VENDOR}}="{vendor}", ENV{{ID_MODEL}}="{model}", ENV{{ID_SERIAL_SHORT}}="{serial}"\n'
            self.run("mkdir", "-p", "/run/udev/rules.d")
            self.run("tee", rule, data=udev.encode())
            self.run("udevadm", "control", "--reload")
            device.add()
            node = ("mknod", device.node, "b", "7", str(device.number))
            self.run(*node)
            self.run("losetup", device.node, content)
            self.run("udevadm", "settle", "--timeout=10")
            wait_until(lambda: self._is_known(device, size_bytes), within_s=10, what=f"{device.node} in UDisks2")
            try:
                yield device.node
            finally:
                with contextlib.suppress(RuntimeError):  # it is there, unless the host was booted meanwhile
                    self.run(*node)
                self.run("losetup", "--detach", device.node)
                self.run("rm", "-f", rule, device.node)
                wait_until(lambda: _removed(device), within_s=10, what=f"the end of {device.node}")
                self.run("udevadm", "control", "--reload")
                content.unlink()

    def _is_known(self, device: LoopDevice, size_bytes: int) -> bool:
        """Whether UDisks2, which hears of it after all others, has the device with what is in it."""
        block = f"/org/freedesktop/UDisks2/block_devices/loop{device.number}"
        of_block = ("org.freedesktop.UDisks2", block, "org.freedesktop.UDisks2.Block", "Size")
        with contextlib.suppress(RuntimeError):
            return self.run("busctl", "get-property", *of_block) == f"t {size_bytes}"
        return False

    def remove(self) -> None:
        """Nothing of it stays."""
        with contextlib.suppress(RuntimeError):  # it may never have been created
            self.machine.run("rm", "--force", "--volumes", self.name)
        _remove_folder(self.folder)
        self._owner.close()

    def _enter_network(self) -> None:
        there = os.open(f"/proc/{self.process}/ns/net", os.O_RDONLY)
        try:
            os.setns(there, os.CLONE_NEWNET)
        finally:
            os.close(there)

    def _create(self) -> None:
        mounts = {
            "/sys/fs/cgroup": "/sys/fs/cgroup",
            str(self.run_dir): "/run",
            str(self.agent.folder): "/var/lib/os-agent",
            str(self.shared): f"{self.shared}:rshared",
        }
        self.machine.run(
            "run", "--detach", "--name", self.name, "--hostname", HOSTNAME,
            "--label", f"{FAMILY_LABEL}=host", "--label", f"{FOLDER_LABEL}={self.folder}",
            "--cap-add", "ALL", *(word for capability in NOT_ITS_OWN for word in ("--cap-drop", capability)),
            "--security-opt", "seccomp=unconfined", "--security-opt", "apparmor=unconfined", "--cgroupns", "host",
            *(word for rule in (*LOOP_DEVICES, *FUSE) for word in ("--device-cgroup-rule", rule)),
            "--tmpfs", "/tmp", *self._images,
            *(word for outside, inside in mounts.items() for word in ("--volume", f"{outside}:{inside}")),
            self.image,
        )  # fmt: skip

    def _is_up(self) -> bool:
        if not self.running:
            raise RuntimeError(f"the host ended instead of booting:\n{self.machine.run('logs', self.name)}")
        with contextlib.suppress(RuntimeError):  # "degraded" is an exit status too
            self.run("systemctl", "is-system-running", "--wait")
        with contextlib.suppress(RuntimeError):
            return self.run("sh", "-c", "systemctl is-system-running || true") in {"running", "degraded"}
        return False


@contextmanager
def test_host(engine: Engine, *, in_memory: bool = False) -> Iterator[Host]:
    """A host that is up; at the end nothing of it is left but its image.

    :param in_memory: whether its engine keeps its images in memory. Where one is large, deleting it from a disk that is
        told of each freed block takes minutes, in which the machine's engine makes no container.

    Raises :class:`~tests.host.rig.image.Unavailable` where it can't be had.
    """
    remove_orphans(engine)
    host = Host(engine, test_host_image(engine), in_memory=in_memory)
    try:
        host.boot()
        yield host
    finally:
        host.remove()


def remove_orphans(engine: Engine) -> None:
    """Take away the hosts whose processes were killed: nobody holds the lock in their folder any more."""
    listed = engine.run(
        "ps", "--all", "--filter", f"label={FOLDER_LABEL}", "--format", f'{{{{.ID}}}} {{{{.Label "{FOLDER_LABEL}"}}}}'
    )
    for container, _, folder in (row.partition(" ") for row in listed.splitlines()):
        owner = Path(folder) / "owner"
        if not owner.exists():
            continue  # of another machine, or of a container that shares the engine with us
        with owner.open("w", encoding="ascii") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            engine.run("rm", "--force", "--volumes", container)
            _remove_folder(Path(folder))


def _remove_folder(folder: Path) -> None:
    """Delete it with the mounts in it."""
    mounts = [row.split()[1] for row in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
    for mount in reversed([mount for mount in mounts if Path(mount).is_relative_to(folder)]):
        subprocess.run(["umount", "--lazy", mount], check=True)
    shutil.rmtree(folder)


def _removed(device: LoopDevice) -> bool:
    """Take it away, unless somebody looks at it just now."""
    with contextlib.suppress(OSError):
        device.remove()
        return True
    return False
