"""How many threads a session gets."""

from __future__ import annotations

from pathlib import Path

import pytest

from tfgraph.backends import threads
from tfgraph.backends.threads import Threads, choose_threads


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Four processors, two of each core."""
    for processor in range(4):
        folder = tmp_path / f"cpu{processor}" / "topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text("0,2\n" if processor % 2 == 0 else "1,3\n")
    return tmp_path


def _allow(monkeypatch: pytest.MonkeyPatch, processors: list[int], all_of: int = 4) -> None:
    monkeypatch.setattr(threads, "allowed_processors", lambda: processors)
    monkeypatch.setattr(threads.os, "cpu_count", lambda: all_of)


def test_one_thread_a_core(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _allow(monkeypatch, [0, 1, 2, 3])
    assert choose_threads(machine, machine / "none") == Threads(2)


def test_a_part_of_the_machine_gets_its_processors(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _allow(monkeypatch, [1, 2, 3])
    assert choose_threads(machine, machine / "none") == Threads(2, (1, 2))


@pytest.mark.parametrize(
    ("quota", "expected"),
    [
        ("max 100000", Threads(2)),
        ("100000 100000", Threads(1)),
        ("50000 100000", Threads(1)),
        ("900000 100000", Threads(2)),
        ("damaged", Threads(2)),
        ("1 0", Threads(2)),
    ],
)
def test_a_quota(machine: Path, monkeypatch: pytest.MonkeyPatch, quota: str, expected: Threads) -> None:
    _allow(monkeypatch, [0, 1, 2, 3])
    (machine / "cpu.max").write_text(quota)
    assert choose_threads(machine, machine / "cpu.max") == expected


def test_a_machine_that_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _allow(monkeypatch, [0, 1], all_of=2)
    assert choose_threads(tmp_path, tmp_path / "none") == Threads(2)


def test_this_machine() -> None:
    assert choose_threads().count >= 1
