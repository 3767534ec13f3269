"""The events at the size that was promised: 1,000 readers, 10,000 events."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kernel.test_slow_clients import require_files
from tests.plugins.supervisor.test_event_readers import readers_are_borne


@pytest.mark.torture
@pytest.mark.timeout(600)
async def test_a_thousand_readers_get_ten_thousand_events_and_nobody_else_notices(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    require_files(3_000)
    figures = await readers_are_borne(
        tmp_path, lines=900, sockets=100, stalled=50, events=10_000, per_second=1_000, alone_s=10.0
    )
    print(figures)
    record_property("figures", figures)
