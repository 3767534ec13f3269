"""Add-ons' pages through ingress: beside nginx as the proxy to the same add-on, and beside the add-on itself.

The proxy has one core; the add-on, an nginx too, shares the other one with the load. nginx proxies as ingress has to:
nothing is buffered, connections to the add-on are kept.
"""

from __future__ import annotations

import contextlib
import getpass
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

import processes
from answers import TURN_S
from attrs import asdict, frozen
from keepalive import HOST, Answer, Clients, WrongAnswer, ask, ask_again, get
from meanwhile import asked_meanwhile, p99_ms
from processes import Memory
from rows import QUICK, TIMES, Bench, Row, Skipped

SERVER = Path(__file__).with_name("ingress_server.py")
RIG = Path(__file__).parents[1] / "tests" / "rig"
SMALL_BYTES, MEDIUM_BYTES, LARGE_BYTES = 1000, 24_000, 8_000_000
SOCKETS = 500
HUGE_BYTES, QUICK_HUGE_BYTES = 2 * 1024**3, 64 * 1024**2
CHUNK_BYTES = 1024 * 1024
MIB = 1024 * 1024
START_S = 60.0
NGINX = """\
daemon off; user {user}; worker_processes 1; pid {folder}/{name}.pid; error_log {folder}/{name}.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; keepalive_requests 1000000000; tcp_nodelay on; client_max_body_size 0;
  client_body_temp_path {folder}/{name}-1; proxy_temp_path {folder}/{name}-2; fastcgi_temp_path {folder}/{name}-3;
  uwsgi_temp_path {folder}/{name}-4; scgi_temp_path {folder}/{name}-5;
  {content}
}}
"""
PAGES = """\
sendfile on; root {folder};
server {{ listen 127.0.0.1:{port}; location = /api/sink {{
  proxy_pass http://127.0.0.1:{sink}; proxy_http_version 1.1; proxy_request_buffering off;
}} }}"""
PROXY = """\
upstream page {{ server 127.0.0.1:{page}; keepalive 64; keepalive_requests 1000000000; }}
  map $http_upgrade $hop {{ default Upgrade; "" ""; }}
  server {{ listen 127.0.0.1:{port}; location / {{
    proxy_pass http://page; proxy_http_version 1.1;
    proxy_set_header Connection $hop; proxy_set_header Upgrade $http_upgrade;
    proxy_buffering off; proxy_request_buffering off;
  }} }}"""
MESSAGE = b"\x82\xe4\0\0\0\0" + bytes(100)
"""A masked binary frame of 100 bytes (RFC 6455)."""
ECHO_BYTES = 102
"""How long it is when it comes back, without a mask."""


@frozen
class Ingress:
    """A running ingress, and the servers behind it."""

    process: processes.Process
    port: int
    pages: Mapping[str, str]
    """The paths of the pages, by the add-ons' names."""
    session: str
    token: str
    """Of who may ask the API."""
    addon_token: str
    """Of an add-on that may talk to Core, which ``page`` is here."""
    ports: Mapping[str, int]
    """Where the add-ons listen themselves."""
    folder: Path
    """What the pages are served from."""

    def request(self, name: str, path: str, **headers: str) -> bytes:
        """One that asks for a page."""
        return get(f"{self.pages[name]}{path}", **_browser(), **headers, Cookie=f"ingress_session={self.session}; a=b")

    def of_add_on(self, path: str, **headers: str) -> bytes:
        """One of an add-on that asks Core."""
        return get(f"/core/api{path}", **headers, Authorization=f"Bearer {self.addon_token}")


def _browser() -> dict[str, str]:
    """What a browser, and Core, say with each request."""
    return {
        "User_Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
        "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "X_Forwarded_For": "192.0.2.7",
    }


# --- the rows ---------------------------------------------------------------------------------------------------------


def pages(bench: Bench) -> Iterator[Row]:
    """Pages of three sizes, beside nginx."""
    with _ingress(bench) as ingress, _proxied(ingress, "page") as nginx:
        for size, connections, gate in ((SMALL_BYTES, 32, 0.35), (MEDIUM_BYTES, 32, 0.7), (LARGE_BYTES, 4, 2.0)):
            yield _beside_nginx(bench, ingress, nginx, size, connections, gate)


def round_trips(bench: Bench) -> Iterator[Row]:
    """A message there and back, beside the add-on itself and nginx in front of it."""
    with _ingress(bench) as ingress, contextlib.ExitStack() as closing:
        nginx = closing.enter_context(_proxied(ingress, "sockets"))
        plain = get("/echo", **_browser(), **_upgrade())
        requests = {"ingress": (ingress.port, ingress.request("sockets", "/echo", **_upgrade()))}
        requests |= {"direct": (ingress.ports["sockets"], plain), "nginx": (nginx, plain)}
        opened = {name: closing.enter_context(_websocket(*request)) for name, request in requests.items()}
        rounds = []
        for counts in bench.rounds():
            figures: dict[str, list[float]] = {name: [] for name in opened}
            for _ in range(max(1, round(bench.pace.seconds / TURN_S))):
                for name, line in opened.items():
                    figures[name] += _round_trips(line)
            if counts:
                rounds.append({name: median(times) for name, times in figures.items()})
    ratios = [each["ingress"] / each["direct"] for each in rounds]
    us = {name: median(each[name] for each in rounds) * 1e6 for name in opened}
    against = f"{us['ingress']:.0f} µs; the add-on itself {us['direct']:.0f} µs, through nginx {us['nginx']:.0f} µs"
    yield Row("WebSocket through ingress, 100 bytes there and back", ratios, TIMES, 1.5, False, against, rounds)


def open_sockets(bench: Bench) -> Iterator[Row]:
    """What an open WebSocket holds in memory."""
    with _ingress(bench) as ingress, contextlib.ExitStack() as closing:
        request = ingress.request("sockets", "/echo", **_upgrade())
        for _ in range(20):  # what is made once is no socket's
            closing.enter_context(_websocket(ingress.port, request))
        before = Memory.of(ingress.process.pid)
        for _ in range(SOCKETS):
            closing.enter_context(_websocket(ingress.port, request))
        time.sleep(bench.pace.idle_s)
        after = Memory.of(ingress.process.pid)
    each_kb = (after.rss_bytes - before.rss_bytes) / SOCKETS / 1000
    raw = [asdict(before), asdict(after)]
    yield Row(f"{SOCKETS} open WebSockets through ingress, each", [each_kb], " kB", 60, False, "", raw)


def huge_bodies(bench: Bench) -> Iterator[Row]:
    """2 GB up and down: memory stays, bytes stay, and the API answers meanwhile."""
    size = QUICK_HUGE_BYTES if bench.pace is QUICK else HUGE_BYTES
    with _ingress(bench) as ingress:
        for file in (ingress.folder / "huge", ingress.folder / "api" / "huge"):
            file.parent.mkdir(exist_ok=True)
            with file.open("wb") as opened:
                opened.truncate(size)
        expected = hashlib.sha256()
        for _ in range(size // CHUNK_BYTES):
            expected.update(bytes(CHUNK_BYTES))
        with asked_meanwhile(ingress.port, ingress.token) as idle:
            time.sleep(bench.pace.seconds)
        length = {"Content_Length": str(size)}
        ways = (
            ("ingress", ingress.request("page", "/huge"), ingress.request("sink", "/", **length)),
            ("/core/api", ingress.of_add_on("/huge"), ingress.of_add_on("/sink", **length)),
        )
        for way, down, up in ways:
            for what, request, move in (("down", down, _download), ("up", up.replace(b"GET ", b"POST ", 1), _upload)):
                before = processes.forget_peak_memory(ingress.process.pid)
                with asked_meanwhile(ingress.port, ingress.token) as latencies:
                    began = time.perf_counter()
                    digest = move(ingress, request, size)
                    seconds = time.perf_counter() - began
                if digest != expected.hexdigest():
                    raise WrongAnswer(f"{what}: other bytes came than were sent")
                grown = (processes.peak_memory_bytes(ingress.process.pid) - before) / MIB
                told = f"{size / seconds / 1e6:.0f} MB/s"
                against = f"{told}; {p99_ms(idle):.1f} ms where nothing is moved"
                name = f"{size // MIB} MiB {what} through {way}"
                yield Row(f"{name}: memory grows", [grown], " MiB", 16, False, told, None)
                yield Row(f"{name}: API p99", [p99_ms(latencies)], " ms", 20, False, against, latencies)


# --- what they share --------------------------------------------------------------------------------------------------


def _beside_nginx(bench: Bench, ingress: Ingress, nginx: int, size: int, connections: int, gate: float) -> Row:
    requests = {ingress.port: ingress.request("page", f"/{size}"), nginx: get(f"/{size}", **_browser(), Cookie="a=b")}
    pids = {ingress.port: (ingress.process.pid,), nginx: _workers(ingress.folder / "proxy.pid")}
    with contextlib.ExitStack() as closing:
        clients = {}
        expected: Answer | None = None
        for port, request in requests.items():
            answer = ask(port, request)
            if answer.status != 200 or len(answer.body) != size or (expected and answer.body != expected.body):
                raise WrongAnswer(f"{answer.status}, {len(answer.body)} bytes for a page of {size}")
            expected = answer
            clients[port] = Clients(port, request, answer, connections)
            closing.callback(clients[port].close)
        rounds = []
        for counts in bench.rounds():
            sides = _round(bench, clients, pids)
            if counts:
                rounds.append({"ingress": sides[ingress.port], "nginx": sides[nginx]})
    ratios = [each["ingress"]["per_second"] / each["nginx"]["per_second"] for each in rounds]
    by_cpu = median(each["nginx"]["cpu_us"] / each["ingress"]["cpu_us"] for each in rounds)
    ours, theirs = (median(each[name]["per_second"] for each in rounds) for name in ("ingress", "nginx"))
    against = f"nginx: {ours:,.0f} of {theirs:,.0f}/s; by CPU time {by_cpu:.2f}"
    what = f"page of {size / 1000:,.0f} kB through ingress, {connections} connections"
    return Row(what, ratios, TIMES, gate, True, against, {"rounds": rounds})


def _round(
    bench: Bench, clients: Mapping[int, Clients], pids: Mapping[int, Sequence[int]]
) -> dict[int, dict[str, float]]:
    """The figures of each server, asked in turn until each was asked for the time of a round."""
    totals = {port: [0.0, 0.0, 0.0] for port in clients}
    for _ in range(max(1, round(bench.pace.seconds / TURN_S))):
        for port, asking in clients.items():
            before = sum(map(processes.cpu_seconds, pids[port]))
            turn = asking.load(TURN_S)
            cpu_s = sum(map(processes.cpu_seconds, pids[port])) - before
            for at, figure in enumerate((len(turn.latencies_s), turn.seconds, cpu_s)):
                totals[port][at] += figure
    return {
        port: {"requests": n, "per_second": n / seconds, "cpu_us": cpu_s / n * 1e6, "share_of_core": cpu_s / seconds}
        for port, (n, seconds, cpu_s) in totals.items()
    }


@contextlib.contextmanager
def _ingress(bench: Bench) -> Iterator[Ingress]:
    """A running ingress with three pages: an nginx's, one with WebSockets, and one that notes what it is sent."""
    if shutil.which("nginx") is None:
        raise Skipped("nginx, as the page and as the proxy that ingress is compared with")
    folder = bench.folder / f"ingress-{time.monotonic_ns()}"
    served = folder / "served"
    served.mkdir(parents=True)
    for size in (SMALL_BYTES, MEDIUM_BYTES, LARGE_BYTES):
        (served / str(size)).write_bytes(os.urandom(size))
    ports = {name: _free_port() for name in ("page", "sockets", "sink")}
    with contextlib.ExitStack() as closing:
        content = PAGES.format(folder=served, port=ports["page"], sink=ports["sink"])
        closing.enter_context(_nginx(served, "page", (ports["page"], content), server_core=False))
        for name, arguments in (
            ("websocket_backend", [ports["sockets"]]),
            ("logging_backend", [ports["sink"], folder / "log"]),
        ):
            closing.enter_context(_beside_the_load([sys.executable, RIG / f"{name}.py", *map(str, arguments)]))
        for port in ports.values():
            _until_listens(port)
        output = folder / "output"
        process = processes.start(
            [sys.executable, SERVER, folder / "house", *(f"{name}={port}" for name, port in ports.items())], log=output
        )
        closing.callback(processes.stop, process)

        def told() -> dict[str, object] | None:
            lines = output.read_text().splitlines() if output.exists() else []
            return next((json.loads(line) for line in lines if line.startswith('{"port"')), None)

        facts = processes.until(told, process, within_s=START_S, what="the pages")
        yield Ingress(process, ports=ports, folder=served, **facts)  # type: ignore[arg-type]


@contextlib.contextmanager
def _proxied(ingress: Ingress, name: str) -> Iterator[int]:
    """The port of an nginx that stands in front of an add-on."""
    port = _free_port()
    content = PROXY.format(page=ingress.ports[name], port=port)
    with _nginx(ingress.folder, "proxy", (port, content), server_core=True):
        yield port


@contextlib.contextmanager
def _nginx(folder: Path, name: str, listening: tuple[int, str], *, server_core: bool) -> Iterator[int]:
    """An nginx with that in its configuration; its port."""
    port, content = listening
    file = folder / f"{name}.conf"
    file.write_text(NGINX.format(user=getpass.getuser(), folder=folder, name=name, content=content))
    command = ["nginx", "-p", str(folder), "-c", str(file), "-e", str(folder / f"{name}.err")]
    if server_core:
        process = processes.start(command, log=folder / f"{name}.log")
        try:
            _until_listens(port)
            yield port
        finally:
            processes.stop(process)
    else:
        with _beside_the_load(command):
            _until_listens(port)
            yield port


@contextlib.contextmanager
def _beside_the_load(command: Sequence[str | Path]) -> Iterator[None]:
    """A process on the load's core."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        processes.stop(process)


def _until_listens(port: int) -> None:
    deadline = time.perf_counter() + START_S
    while True:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        if time.perf_counter() > deadline:
            raise processes.TookTooLong(f"nobody listens on port {port}")
        time.sleep(0.01)


def _workers(pid_file: Path) -> Sequence[int]:
    """The processes of an nginx."""
    master = int(pid_file.read_text())
    children = Path(f"/proc/{master}/task/{master}/children").read_text().split()
    return [master, *map(int, children)]


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as listening:
        return int(listening.getsockname()[1])


def _upgrade() -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec_WebSocket_Version": "13",
        "Sec_WebSocket_Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }


@contextlib.contextmanager
def _websocket(port: int, request: bytes) -> Iterator[socket.socket]:
    with socket.create_connection((HOST, port), START_S) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        answer = ask_again(opened, request)
        if answer.status != 101:
            raise WrongAnswer(f"expected a WebSocket, got {answer.status}")
        yield opened


def _round_trips(opened: socket.socket) -> list[float]:
    """Seconds that each message took that fits into a turn."""
    now, took = time.perf_counter, []
    until = now() + TURN_S
    while (began := now()) < until:
        opened.sendall(MESSAGE)
        missing = ECHO_BYTES
        while missing:
            missing -= len(opened.recv(missing))
        took.append(now() - began)
    return took


def _download(ingress: Ingress, request: bytes, size: int) -> str:
    digest = hashlib.sha256()
    with socket.create_connection((HOST, ingress.port), START_S) as opened:
        opened.sendall(request)
        received = opened.recv(CHUNK_BYTES)
        head, _, body = received.partition(b"\r\n\r\n")
        if b" 200 " not in head:
            raise WrongAnswer(f"expected a large file, got {received[:200]!r}")
        missing = size
        while True:
            digest.update(body)
            missing -= len(body)
            if not missing:
                return digest.hexdigest()
            body = opened.recv(CHUNK_BYTES)


def _upload(ingress: Ingress, request: bytes, size: int) -> str:
    chunk = bytes(CHUNK_BYTES)
    with socket.create_connection((HOST, ingress.port), START_S) as opened:
        opened.sendall(request)
        for _ in range(size // CHUNK_BYTES):
            opened.sendall(chunk)
        opened.recv(CHUNK_BYTES)
    facts = (json.loads(line) for line in (ingress.folder.parent / "log").read_text().splitlines())
    return [str(fact["sha256"]) for fact in facts if fact.get("size") == size][-1]
