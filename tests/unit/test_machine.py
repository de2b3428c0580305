"""What each system tells of itself, read as it means it."""

from __future__ import annotations

import os
import resource
import sys
from types import SimpleNamespace

import pytest

from dbbench.machine import peak_rss_bytes, processors


def test_processors_are_those_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5, 7}, raising=False)
    assert processors() == 3


def test_processors_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 11)
    assert processors() == 11


@pytest.mark.parametrize(("platform", "bytes_of_one"), [("linux", 1024), ("darwin", 1)])
def test_the_unit_of_peak_memory_is_the_systems(platform: str, bytes_of_one: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(resource, "getrusage", lambda who: SimpleNamespace(ru_maxrss=5))
    assert peak_rss_bytes() == 5 * bytes_of_one


def test_peak_memory_holds_what_was_held() -> None:
    size = 300_000_000
    held = bytearray(b"x") * size
    assert peak_rss_bytes() > len(held)
