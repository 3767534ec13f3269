# ruff: noqa: PLC0415  (imported when used, so that --help and completion stay quick)
"""``rooftree network``: the host's network at the shell. A change that is asked for at a terminal is tried until
somebody there says that it may stay: a session that the change has cut off does not."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

import click

from rooftree.commands import (
    NAME,
    Invocation,
    invocation_options,
    is_terminal,
    pass_invocation,
    print_json,
    print_table,
    tell,
)

USUAL_S: Final = 60
"""Seconds within which a change at a terminal is to be confirmed."""
TRIES_S: Final = 150.0
"""Seconds that a change may take."""


@click.group()
@invocation_options
def network() -> None:
    """Show and change the network of the host."""


@network.command()
@invocation_options
@pass_invocation
def show(invocation: Invocation, /) -> None:
    """List the interfaces."""
    info = invocation.ask("GET", "/network/info")
    if invocation.as_json:
        print_json(info)
        return
    rows = [
        (
            entry["interface"] + (" *" if entry["primary"] else ""),
            entry["kind"],
            "connected" if entry["connected"] else "out of use" if not entry["enabled"] else "no connection",
            ", ".join(entry["ipv4"]["address"]) or entry["ipv4"]["method"],
            ", ".join(entry["ipv6"]["address"]) or entry["ipv6"]["method"],
        )
        for entry in info["interfaces"]
    ]
    print_table(("INTERFACE", "KIND", "STATE", "IPV4", "IPV6"), rows)


@network.command("set")
@click.argument("interface", type=NAME)
@click.option("--ipv4", metavar="auto|disabled|ADDRESS", help="By DHCP, not at all, or fixed (192.0.2.9/24, …).")
@click.option("--ipv6", metavar="auto|disabled|ADDRESS", help="By router advertisements, not at all, or fixed.")
@click.option("--gateway", "gateways", multiple=True, metavar="ADDRESS", help="Of IPv4 or IPv6, with a fixed address.")
@click.option("--dns", "nameservers", multiple=True, metavar="ADDRESS", help="A name server; there may be several.")
@click.option("--up/--down", "enabled", default=None, help="Set the interface up, or take it out of use.")
@click.option(
    "--confirm-within", type=click.IntRange(5, 600), metavar="SECONDS", help="Go back unless confirmed in time."
)
@click.option("--plan", is_flag=True, help="Only show what would be done.")
@invocation_options
@pass_invocation
def set_interface(
    invocation: Invocation,
    /,
    interface: str,
    *,
    ipv4: str | None,
    ipv6: str | None,
    gateways: tuple[str, ...],
    nameservers: tuple[str, ...],
    enabled: bool | None,
    confirm_within: int | None,
    plan: bool,
) -> None:
    """Change an interface, which is called by its name, its MAC address, or default.

    The change is tried: at a terminal you are asked whether it stays, and it goes back where nobody answers. Elsewhere
    it stays when those are still reached who were before, or with --confirm-within when somebody says so (rooftree
    network confirm).

    \b
    rooftree network set enp1s0 --ipv4 192.0.2.9/24 --gateway 192.0.2.1
    rooftree network set enp1s0 --ipv4 auto
    """
    body = _body(ipv4, ipv6, gateways, nameservers, enabled)
    path = f"/network/interface/{quote(interface, safe='')}/update"
    if plan:
        _show_plan(invocation, invocation.ask("POST", f"{path}?plan=1", body))
        return
    asks = confirm_within is None and is_terminal() and not invocation.as_json
    if asks or confirm_within is not None:
        body["confirm_within"] = confirm_within or USUAL_S
    answer = invocation.ask("POST", path, body, patience_s=TRIES_S)
    if asks and _is_tried(invocation, answer["job_id"]):
        if click.confirm(f"The network is as you said. Keep it? (It goes back after {USUAL_S} s)"):
            invocation.ask("POST", "/kernel/v1/network/confirm")
            tell("It stays.")
        else:
            invocation.ask("POST", f"/kernel/v1/jobs/{answer['job_id']}/cancel")
            tell("It goes back.")
    elif invocation.as_json:
        print_json(answer)


@network.command()
@invocation_options
@pass_invocation
def confirm(invocation: Invocation, /) -> None:
    """Keep the change that waits for it."""
    answer = invocation.ask("POST", "/kernel/v1/network/confirm")
    if invocation.as_json:
        print_json(answer)
    else:
        tell("It stays.")


def _body(
    ipv4: str | None, ipv6: str | None, gateways: tuple[str, ...], nameservers: tuple[str, ...], enabled: bool | None
) -> dict[str, Any]:
    body: dict[str, Any] = {} if enabled is None else {"enabled": enabled}
    for name, said in (("ipv4", ipv4), ("ipv6", ipv6)):
        if said is not None:
            is_fixed = said not in {"auto", "disabled"}
            body[name] = {"method": "static", "address": said.split(",")} if is_fixed else {"method": said}
    for key, addresses in (("gateway", gateways), ("nameservers", nameservers)):
        for address in addresses:
            name = "ipv6" if ":" in address else "ipv4"
            if name not in body:
                raise click.UsageError(f"{address} belongs to {name}: say --{name} as well, for it is set as a whole")
            if key == "gateway":
                body[name][key] = address
            else:
                body[name].setdefault(key, []).append(address)
    if not body:
        raise click.UsageError("say what is to be otherwise: --ipv4, --ipv6, --up or --down")
    return body


def _is_tried(invocation: Invocation, job_id: str) -> bool:
    """Wait until a change waits to be confirmed; raises the refusal of one that has failed, and is ``False`` where
    there was nothing to do."""
    import time

    from rooftree import Failed

    end = time.monotonic() + TRIES_S
    while time.monotonic() < end:
        if invocation.ask("GET", "/kernel/v1/network/trial")["waiting"]:
            return True
        job = invocation.ask("GET", f"/jobs/{job_id}")
        if job["done"]:
            if job["errors"]:
                raise Failed(job["errors"][0]["message"])
            tell("It is so already.")
            return False
        time.sleep(0.2)
    raise Failed("The change takes too long; rooftree call GET /jobs/info says where it is")


def _show_plan(invocation: Invocation, plan: Any) -> None:
    if invocation.as_json:
        print_json(plan)
        return
    if not plan["steps"]:
        tell("It is so already: nothing would be done.")
    for step in plan["steps"]:
        tell(f"{step['what']}{' The connection drops meanwhile.' if step['downtime'] else ''}")
        for note in step["notes"]:
            tell(f"  {note}")
