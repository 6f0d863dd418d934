"""How far long work has come is said on standard error, wherever it is."""

from __future__ import annotations

import sys

import pytest

from keras_aug_ssl.commands import progress


@pytest.fixture
def clock(monkeypatch):
    """Time that passes when it is told to."""
    now = [0.0]
    monkeypatch.setattr("keras_aug_ssl.commands.progress.time.monotonic", lambda: now[0])
    return now


def work(clock, steps: int = 6, seconds: float = 4.0) -> None:
    with progress.progress("images", 10 * steps) as advance:
        for _ in range(steps):
            clock[0] += seconds
            advance(10)


@pytest.mark.parametrize("without_rich", [False, True])
def test_plain_lines_come_now_and_then_with_an_estimate(clock, monkeypatch, capsys, without_rich):
    if without_rich:
        monkeypatch.setitem(sys.modules, "rich.console", None)
    work(clock)
    said = capsys.readouterr()
    assert said.err.splitlines() == ["keras-aug-ssl: 30 of 60 images, about 12 s left"] and not said.out


def test_a_terminal_shows_a_bar(monkeypatch, capsys):
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    work([0.0])
    said = capsys.readouterr()
    assert "60/60" in said.err and not said.out
