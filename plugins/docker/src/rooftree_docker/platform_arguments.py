"""Build arguments that BuildKit sets without being told, and the engine's classic builder does not.

Dockerfiles for several platforms are written for BuildKit: ``FROM --platform=$BUILDPLATFORM``, ``ARG TARGETARCH``.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import evolve

from rooftree_docker.build_context import BuildContext
from rooftree_docker.platforms import Platform
from rooftree_files.dockerfile import builder_variables, naming


def with_platforms(
    context: BuildContext, arguments: Mapping[str, str], target: Platform, own: Platform
) -> tuple[BuildContext, dict[str, str]]:
    """What to build, and with which arguments, so that the platforms are known where BuildKit would know them.

    :param target: what is built for
    :param own: what it is built on
    """
    variables = builder_variables(context.text)
    platforms = {**_arguments("BUILD", own), **_arguments("TARGET", target)}
    wanted = {name: platforms[name] for name in sorted(variables.named | variables.not_named)}
    if variables.not_named:
        context = evolve(context, instructions=naming(context.instructions, variables.not_named))
    return context, {**wanted, **arguments}


def _arguments(which: str, platform: Platform) -> dict[str, str]:
    return {
        f"{which}PLATFORM": str(platform),
        f"{which}OS": platform.system,
        f"{which}ARCH": platform.architecture,
        f"{which}VARIANT": platform.variant,
    }
