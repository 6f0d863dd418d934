"""Every command line that help and documentation show can be read as it stands."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from keras_aug_ssl.__main__ import COMMANDS, parser

ROOT = Path(__file__).resolve().parents[2]
TEXTS = {name: module.__doc__ or "" for name, module in COMMANDS.items()}
TEXTS |= {page: (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/commands.md", "Makefile")}
LINE = re.compile(r"^\s*(?:keras-aug-ssl|\S+ -m keras_aug_ssl) (?![A-Z|])(.*)$", re.MULTILINE)


@pytest.mark.parametrize("where", TEXTS)
def test_examples_are_read(where, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "unlabeled"):
        Path(folder).mkdir()
    for file in ("model.keras", "test.npz", "inputs.npy", "cat.jpg", "dog.jpg"):
        Path(file).touch()
    examples = LINE.findall(TEXTS[where])
    assert examples
    for example in examples:
        command = re.split(r"[|>]", example)[0]
        arguments = parser().parse_args(shlex.split(command, comments=True))
        assert where not in COMMANDS or arguments.run is COMMANDS[where].run


def test_the_page_is_about_every_command():
    assert re.findall(r"^## (\S+)$", TEXTS["docs/commands.md"], re.MULTILINE) == list(COMMANDS)
