"""A network beside the host's own: an interface of the host's that NetworkManager manages, and what is at the other end
of its cable: a router in a network namespace, with a real dnsmasq that gives out addresses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.host.rig.host import Host

ROUTER = "192.0.2.1"
ROUTER6 = "2001:db8:1::1"
FIRST_LEASE, LAST_LEASE = "192.0.2.100", "192.0.2.150"
NAMESPACE = "router"


class Lan:
    """One cable: ``near`` at the host, the other end in the router's namespace."""

    def __init__(self, host: Host, near: str) -> None:
        self.host = host
        self.near = near
        self._dnsmasq: str | None = None

    def nm(self, *arguments: str) -> str:
        """``nmcli ARGUMENTS…`` on the host."""
        return self.host.run("env", "LC_ALL=C.UTF-8", "nmcli", *arguments)

    def router(self, *command: str) -> str:
        """A command in the router."""
        return self.host.run("ip", "netns", "exec", NAMESPACE, *command)

    def profile(self, *settings: str) -> None:
        """Set the interface up by a profile with these settings of nmcli's."""
        name = f"Supervisor {self.near}"
        with suppress(RuntimeError):
            self.nm("connection", "delete", name)
        self.nm("connection", "add", "type", "ethernet", "ifname", self.near, "con-name", name, *settings)
        self.nm("--wait", "30", "connection", "up", name)

    def settings(self, *names: str) -> dict[str, str]:
        """What the profile on the disk says, by nmcli's names."""
        told = self.nm("--terse", "--fields", ",".join(names), "connection", "show", f"Supervisor {self.near}")
        return dict(line.split(":", 1) for line in told.splitlines())  # type: ignore[arg-type]

    def addresses(self) -> set[str]:
        """The host's on this interface, without those of the link alone."""
        shown = self.host.run("ip", "-brief", "address", "show", "dev", self.near).split()[2:]
        return {address for address in shown if not address.startswith("fe80:")}

    def give_out_addresses(self) -> None:
        """Start the router's DHCP server and router advertisements."""
        self.router(
            "dnsmasq", "--conf-file=/dev/null", "--port=0", "--interface=far0", "--bind-interfaces", "--no-ping",
            f"--dhcp-range={FIRST_LEASE},{LAST_LEASE},5m", "--dhcp-range=2001:db8:1::,ra-only", "--enable-ra",
            "--dhcp-leasefile=/run/router.leases", "--pid-file=/run/router.pid", "--dhcp-authoritative",
        )  # fmt: skip
        self._dnsmasq = self.host.run("cat", "/run/router.pid")

    def give_out_no_more(self) -> None:
        """End it."""
        if self._dnsmasq is not None:
            self.host.run("kill", self._dnsmasq)
            self._dnsmasq = None


@contextmanager
def lan(host: Host, near: str = "lan0") -> Iterator[Lan]:
    """A cable with a router at its other end; at the end nothing of it is left."""
    host.run("ip", "netns", "add", NAMESPACE)
    made = Lan(host, near)
    try:
        host.run("ip", "link", "add", near, "type", "veth", "peer", "name", "far0", "netns", NAMESPACE)
        for command in (
            ("addr", "add", f"{ROUTER}/24", "dev", "far0"),
            ("-6", "addr", "add", f"{ROUTER6}/64", "dev", "far0", "nodad"),
            ("link", "set", "far0", "up"),
            ("link", "set", "lo", "up"),
        ):
            host.run("ip", "-n", NAMESPACE, *command)
        made.nm("device", "set", near, "managed", "yes")
        yield made
    finally:
        made.give_out_no_more()
        with suppress(RuntimeError):
            host.run("systemctl", "start", "NetworkManager.service")
            for row in made.nm("--terse", "--fields", "UUID,DEVICE,NAME", "connection", "show").splitlines():
                uuid, device, name = row.split(":", 2)
                if device in {near, "--", ""} or name.startswith("Supervisor"):
                    made.nm("connection", "delete", uuid)
        host.run("ip", "netns", "delete", NAMESPACE)
        with suppress(RuntimeError):
            host.run("ip", "link", "delete", near)
