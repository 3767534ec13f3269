"""The jobs with Core's container."""

from __future__ import annotations

from rooftree_containers.container_jobs import domain_jobs
from rooftree_homeassistant.core_container import NAMES

JOBS = domain_jobs(NAMES, "home_assistant_core", __name__)
