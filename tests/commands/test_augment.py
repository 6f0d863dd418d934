"""A gallery of one's own images."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from keras_aug_ssl.__main__ import main
from keras_aug_ssl.commands import gallery
from tests.browser import look, needs_browser
from tests.helpers import half_bright


@pytest.mark.parametrize("suffix", ["html", "png"])
def test_a_gallery_is_written(folder, tmp_path, suffix, capsys):
    out = tmp_path / "new folder" / f"gallery.{suffix}"
    assert main(["augment", folder, "--out", str(out), "--copies", "2"]) == 0
    content = out.read_bytes()
    assert content.startswith(b"\x89PNG") if suffix == "png" else b"RandomRotation" in content
    assert "2 of 2 images" in capsys.readouterr().out


def test_every_class_folder_is_shown_by_name(tmp_path, capsys):
    for name in ("cats", "dogs & wolves", "empty"):
        (tmp_path / "pets" / name / "deeper").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "pets" / "cats" / f"{number}.png").write_bytes(tf.io.encode_png(half_bright(True)).numpy())
    dog = tmp_path / "pets" / "dogs & wolves" / "deeper" / "dog.png"
    dog.write_bytes(tf.io.encode_png(half_bright(False)).numpy())
    out = tmp_path / "gallery.html"
    assert main(["augment", f"{tmp_path}/pets", "--out", str(out), "--copies", "2"]) == 0
    page = out.read_text(encoding="utf-8")
    assert "<p>Shown: 3 of 7.</p>" in page and "dogs &amp; wolves</h2>\n<p>Shown: 1 of 1.</p>" in page
    assert page.count("<img") == 4 * 3 and "6.png" in page and "5.png" not in page
    assert "4 of 8 images, 2 of 2 folders" in capsys.readouterr().out


def test_of_very_many_classes_each_has_one_image(tmp_path):
    groups = {f"{number:03}": [Path("a.png"), Path("b.png")] for number in range(gallery.MOST_IMAGES + 1)}
    chosen = gallery._chosen(groups, 3)
    assert list(chosen) == list(groups)[: gallery.MOST_IMAGES] and {len(found) for found in chosen.values()} == {1}


def test_broken_images_are_left_out_unless_all_are(folder, tmp_path, capsys):
    Path(folder, "left.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    out = tmp_path / "gallery.html"
    assert main(["augment", folder, "--out", str(out), "--copies", "1"]) == 3
    assert "left.png is no readable" in capsys.readouterr().err
    before = out.read_bytes()
    assert main(["augment", f"{folder}/left.png", f"{folder}/notes.txt", "--out", str(out), "--copies", "1"]) == 2
    assert "none of the 2 images can be read" in capsys.readouterr().err and out.read_bytes() == before


@needs_browser
def test_a_gallery_fits_desk_and_phone_by_day_and_night(folder, tmp_path):
    out = tmp_path / "gallery.html"
    assert main(["augment", folder, "--out", str(out), "--copies", "8"]) == 0
    day, night = look(out, 1280), look(out, 390, dark=True)
    for found in (day, night):
        assert not found["wrong"] and found["page"] <= found["screen"] and len(found["images"]) == 18
        assert all(width >= 128 and right <= found["screen"] for width, right in found["images"])
    assert day["background"] != night["background"]
