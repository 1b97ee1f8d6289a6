"""Tests run from anywhere: the repository's folder comes first on the path, torch keeps to two threads."""
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a test that reaches for a hub fails at once


@pytest.fixture
def no_environment(monkeypatch):
    """No variable of the user's that data.py obeys."""
    for name in ("MIRROR", "DOWNLOAD", "OFFLINE", "DATA_CACHE", "CLEF"):
        monkeypatch.delenv(name, raising=False)


def pytest_configure(config):
    try:
        import torch
        torch.set_num_threads(2)
    except ImportError:  # the copyable files without torch are tested without it
        pass
