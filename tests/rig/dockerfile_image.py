"""What the engine would build of a small Dockerfile, made without it: its layers, and a configuration.

The engine needs most of a second of a processor to build an image, push it and forget it; a registry only has to be
given what comes out. And what an engine has built it may use again in the moment in which another test removes it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import re
import shlex
import tarfile
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from attrs import frozen

from tests.rig.files import SCRIPT_MODE, content_of

NANOSECONDS = 1_000_000_000


@frozen
class DockerfileImage:
    """An image as a registry is given it.

    :param layers: what is added to that, as packed tars
    :param config: of the whole image
    """

    layers: Sequence[bytes]
    config: Mapping[str, Any]


def begins_with(dockerfile: str) -> str | None:
    """The image that a Dockerfile begins with, or ``scratch``; ``None`` for a Dockerfile that only an engine can
    build."""
    first, *others = _instructions(dockerfile)
    known = first[0] == "FROM" and " " not in first[1]
    return first[1] if known and all(word in _INSTRUCTIONS for word, _ in others) else None


def empty_config(platform: str) -> dict[str, Any]:
    """The configuration of an image in which nothing is, not even a path for programs.

    :param platform: what it is made for, ``linux/arm64``
    """
    system, _, architecture = platform.partition("/")
    return {"os": system, "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": []}}


def image_of(dockerfile: str, files: Mapping[str, str | bytes], base_config: Mapping[str, Any]) -> DockerfileImage:
    """What the engine would build. Two that are alike differ all the same, by the time at which they are made.

    :param base_config: the configuration of the image that it begins with
    """
    config = json.loads(json.dumps(base_config))
    config["config"] = config.get("config") or {}
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    layers, history = [], []
    for word, text in _instructions(dockerfile)[1:]:
        unpacked = io.BytesIO()
        with tarfile.open(fileobj=unpacked, mode="w", format=tarfile.PAX_FORMAT) as layer:
            _INSTRUCTIONS[word](config["config"], text, files, layer)
            empty = not layer.getmembers()
        history.append({"created": now, "created_by": f"{word} {text}", "empty_layer": empty})
        if not empty:
            config["rootfs"]["diff_ids"].append(digest_of(unpacked.getvalue()))
            layers.append(gzip.compress(unpacked.getvalue(), 1))
    config["history"] = [*(config.get("history") or ()), *history]
    config["created"] = now
    return DockerfileImage(layers, config)


def digest_of(content: bytes) -> str:
    """How registries and engines call a content."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _instructions(dockerfile: str) -> list[tuple[str, str]]:
    lines = [line.split(maxsplit=1) for line in dockerfile.splitlines() if line.strip()]
    return [(word, text.strip()) for word, text in lines]


# --- what each instruction does to the configuration and the layer ----------------------------------------------------

type Config = dict[str, Any]
type Files = Mapping[str, str | bytes]
type Instruction = Callable[[Config, str, Files, tarfile.TarFile], None]


def _env(config: Config, text: str, _: Files, __: tarfile.TarFile) -> None:
    variables = [*(config.get("Env") or ()), *shlex.split(text)]
    config["Env"] = [f"{name}={value}" for name, value in dict(word.split("=", 1) for word in variables).items()]


def _label(config: Config, text: str, _: Files, __: tarfile.TarFile) -> None:
    told = dict(word.split("=", 1) for word in shlex.split(text))
    config["Labels"] = {**(config.get("Labels") or {}), **told}


def _cmd(config: Config, text: str, _: Files, __: tarfile.TarFile) -> None:
    config["Cmd"] = _command(text)


def _entrypoint(config: Config, text: str, _: Files, __: tarfile.TarFile) -> None:
    config["Entrypoint"] = _command(text)
    config["Cmd"] = None


def _workdir(config: Config, text: str, _: Files, layer: tarfile.TarFile) -> None:
    config["WorkingDir"] = text
    folder = tarfile.TarInfo(text.strip("/"))
    folder.type, folder.mode, folder.mtime = tarfile.DIRTYPE, 0o755, time.time()
    layer.addfile(folder)


def _healthcheck(config: Config, text: str, _: Files, __: tarfile.TarFile) -> None:
    options, command = text.split("CMD ", 1)
    told = dict(re.findall(r"--([a-z-]+)=(\d+)s?", options))
    config["Healthcheck"] = {
        "Test": ["CMD-SHELL", command],
        **{
            key: int(told[name]) * NANOSECONDS
            for name, key in (("interval", "Interval"), ("timeout", "Timeout"), ("start-period", "StartPeriod"))
            if name in told
        },
        **({"Retries": int(told["retries"])} if "retries" in told else {}),
    }


def _copy(_: Config, text: str, files: Files, layer: tarfile.TarFile) -> None:
    *sources, target = text.split()
    for source in sources:
        content = content_of(files[source])
        path = PurePosixPath(target) / source if target.endswith("/") else PurePosixPath(target)
        member = tarfile.TarInfo(str(path).strip("/"))
        member.size, member.mtime = len(content), time.time()
        member.mode = SCRIPT_MODE if content.startswith(b"#!") else 0o644
        layer.addfile(member, io.BytesIO(content))


def _command(text: str) -> list[str]:
    return list(json.loads(text)) if text.startswith("[") else ["/bin/sh", "-c", text]


_INSTRUCTIONS: Mapping[str, Instruction] = {
    "CMD": _cmd,
    "COPY": _copy,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "WORKDIR": _workdir,
}
