"""Values are checked while the command line is read."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from keras_aug_ssl.commands import options


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        (options.whole(1), "0", "must be a whole number >= 1; received 0"),
        (options.whole(1, 20), "2.5", "must be a whole number from 1 to 20; received 2.5"),
        (options.number(0, 1), "nan", "must be a number from 0 to 1; received nan"),
        (options.number(0), "inf", "must be a number >= 0; received inf"),
        (options.number(0), "a\nb", "received a\ufffdb"),
        (options.existing, "missing", "no such file or folder: missing"),
        (options.arrays_or_name, "missing.npz", "no such file or folder: missing.npz"),
        (options.model_file, "missing.keras", "no such model file: missing.keras"),
        (options.output(".csv"), "labels.txt", "the name must end in .csv"),
        (options.output(".csv"), "file/labels.csv", "one can't write a file there"),
    ],
)
def test_what_is_wrong_is_said(kind, text, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    with pytest.raises(argparse.ArgumentTypeError) as caught:
        kind(text)
    assert said in str(caught.value)


def test_what_is_right_is_returned_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert options.whole(1)("3") == 3 and options.number(0, 1)("1e-3") == 0.001
    assert options.existing(".") == "." and options.arrays_or_name("mnist:3.0.1") == "mnist:3.0.1"
    out = options.output(".html", ".png")("new/folder/gallery.PNG")
    assert not list(tmp_path.iterdir())
    options.make_folder(out)
    assert out.parent.is_dir() and not out.exists()
    assert options.output(".png")(str(out)) == out


def test_a_place_without_permission_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr("os.access", lambda place, mode: Path(place) != tmp_path)
    with pytest.raises(argparse.ArgumentTypeError, match="one can't write a file there"):
        options.output(".csv")(str(tmp_path / "new" / "labels.csv"))
    (tmp_path / "new").mkdir()
    assert options.output(".csv")(str(tmp_path / "new" / "labels.csv"))
