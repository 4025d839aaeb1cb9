"""What our engine answered, and the settings of every vLLM here."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def expected() -> dict[str, Any]:
    return json.loads(Path(os.environ["PAD_EXPECTED"]).read_text())


def pytest_configure() -> None:
    # The engine in this process: its counters can be read, and its errors are seen.
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
    os.environ["HF_HUB_OFFLINE"] = "1"
