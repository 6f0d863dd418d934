"""A result of pseudo-labelling read back: its selected rows beside their features, for everything that trains."""

from __future__ import annotations

import json
import subprocess
import sys

import keras
import numpy as np
import pyarrow
import pyarrow.parquet as parquet
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import rules
from tests.helpers import clusters, network

# Keras reads variables into arrays in a way NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")

X = clusters(unlabeled=100)[2]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """The file of a classifier."""
    x, y, *_ = clusters(labeled=10)
    model = network()
    model.fit(x, y, epochs=20, verbose=0)
    file = tmp_path_factory.mktemp("model") / "model.keras"
    model.save(file)
    return file


def result_of(model, x, folder, rule=None, **options):
    """A result in shards of 64 rows."""
    shards = kas.scale.Shards(x, rows=64, **options)
    rule = rule or rules.Threshold(0.6) & rules.SoftWeight()
    kas.scale.pseudo_label(model, shards, folder, rule, engine=kas.scale.InProcess())
    return np.concatenate([parquet.read_table(part).to_pylist() for part in sorted(folder.glob("part-*"))])


@pytest.fixture
def labeled(model, tmp_path):
    """The folder of a result, and its selected rows."""
    np.save(tmp_path / "x.npy", X)
    table = result_of(model, tmp_path / "x.npy", tmp_path / "labels")
    return tmp_path / "labels", [row for row in table if row["selected"]]


def assert_rows(dataset, selected, x=X):
    """Whether a data set has the features, labels and weights of the selected rows, in their order."""
    found = list(dataset.as_numpy_iterator())
    assert len(found) == len(dataset) == len(selected) > 100
    for (features, label, weight), row in zip(found, selected, strict=True):
        np.testing.assert_array_equal(features, x[row["id"]])
        assert label == row["label"] and weight == np.float32(row["weight"])


def test_arrays_are_joined_by_position(labeled):
    folder, selected = labeled
    assert_rows(kas.data.pseudo_labelled(folder, X), selected)
    larger = kas.data.pseudo_labelled(folder, {"a": X, "b": 2 * X})
    (features, *_) = next(iter(larger))
    np.testing.assert_array_equal(features["b"], 2 * X[selected[0]["id"]])


def test_parquet_is_joined_by_its_column(model, tmp_path):
    names = [f"row {number}" for number in range(300)]
    columns = {"name": names, **{f"x{i}": column for i, column in enumerate(X.T)}}
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet", row_group_size=50)
    table = result_of(model, tmp_path / "x.parquet", tmp_path / "labels", id="name")
    selected = [dict(row, id=names.index(row["id"])) for row in table if row["selected"]]
    assert_rows(kas.data.pseudo_labelled(tmp_path / "labels", tmp_path / "x.parquet", id="name"), selected)
    columns["name"] = names[::-1]
    parquet.write_table(pyarrow.table(columns), tmp_path / "x.parquet", row_group_size=50)
    with pytest.raises(ValueError, match="the column whose values the result knows the rows by"):
        kas.data.pseudo_labelled(tmp_path / "labels", tmp_path / "x.parquet", id="name")


def test_files_are_joined_by_name_also_when_others_came(tmp_path):
    model = keras.Sequential([keras.Input((2, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    model.save(tmp_path / "model.keras")
    folder = tmp_path / "images"
    folder.mkdir()
    images = np.random.default_rng(0).integers(0, 255, (20, 2, 2, 1), np.uint8)
    for number, image in enumerate(images):
        (folder / f"{number:02}.png").write_bytes(tf.io.encode_png(image).numpy())
    table = result_of(tmp_path / "model.keras", folder, tmp_path / "labels", rules.TopK(8, per_class=False))
    (folder / "00 new.png").write_bytes(tf.io.encode_png(images[0]).numpy())
    dataset = kas.data.pseudo_labelled(tmp_path / "labels", kas.UnlabeledPool(folder))
    expected = images[[row["selected"] for row in table]]
    np.testing.assert_array_equal(np.stack([x for x, *_ in dataset.as_numpy_iterator()]), expected)
    for number in range(20):
        (folder / f"{number:02}.png").unlink()
    with pytest.raises(ValueError, match="a pool that has the rows that were labeled"):
        kas.data.pseudo_labelled(tmp_path / "labels", kas.UnlabeledPool(folder))


def test_an_order_is_new_in_each_pass_and_that_of_its_seed(labeled, monkeypatch):
    monkeypatch.setattr("keras_aug_ssl.data.pseudo_labels.BLOCK", 16)
    passes = {seed: kas.data.pseudo_labelled(labeled[0], X, seed=seed) for seed in (1, 2)}
    again = kas.data.pseudo_labelled(labeled[0], X, seed=1)

    def order(dataset):
        return [tuple(x) for x, *_ in dataset.as_numpy_iterator()]

    first, second, other = order(passes[1]), order(passes[1]), order(passes[2])
    assert first == order(again) and first != second and first != other
    assert sorted(first) == sorted(second) == sorted(other)


def test_it_feeds_fit_a_consistency_method_and_self_training(labeled):
    dataset = kas.data.pseudo_labelled(labeled[0], X, seed=0)
    model = network()
    history = model.fit(dataset.batch(32), epochs=4, verbose=0)
    assert history.history["accuracy"][-1] > 0.9
    method = kas.PseudoLabel(model, weak=kas.consistency.unchanged, threshold=0.8)
    method.compile("sgd", "sparse_categorical_crossentropy")
    stream = kas.data.labeled_unlabeled(dataset, X, batch_size=8, ratio=2, steps=3)
    assert np.isfinite(method.fit(stream, epochs=1, verbose=0).history["loss"]).all()
    x, y, weight = map(np.stack, zip(*dataset.as_numpy_iterator(), strict=True))
    st = kas.SelfTraining(X, rules.TopK(20), start_epoch=0)
    model.fit(st.training_set(x, y, batch_size=16, sample_weight=weight, steps=4), epochs=1, callbacks=[st], verbose=0)
    assert st.table()["selected"].sum() == 60


TWO_DEVICES = """
import json, sys
import numpy as np
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
import keras
import keras_aug_ssl as kas
from tests.helpers import network
weights = []
for strategy in (tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), tf.distribute.get_strategy()):
    with strategy.scope():
        model = network()
    batches = kas.data.pseudo_labelled(sys.argv[1], np.load(sys.argv[2])).batch(32, drop_remainder=True)
    model.fit(batches, epochs=2, verbose=0)
    weights.append([part.tolist() for part in model.get_weights()])
print(json.dumps(weights))
"""


def test_two_replicas_learn_what_one_learns(labeled, tmp_path):
    """In a process of its own: logical devices must be set up before TensorFlow starts."""
    command = [sys.executable, "-c", TWO_DEVICES, str(labeled[0]), str(tmp_path / "x.npy")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    two, one = json.loads(done.stdout.splitlines()[-1])
    for a, b in zip(two, one, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_what_is_no_whole_result_is_refused(labeled, model, tmp_path):
    folder, _ = labeled
    for x, message in (
        (X[:5], "features of the rows that were labeled"),
        ("x.npy", "arrays, a pool, or Parquet files"),
    ):
        with pytest.raises(ValueError, match=message):
            kas.data.pseudo_labelled(folder, x)
    with pytest.raises(ValueError, match="`columns` must be None"):
        kas.data.pseudo_labelled(folder, X, columns=["a"])
    part = folder / "part-00000000.parquet"
    content = part.read_bytes()
    part.write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="a result as it was written"):
        kas.data.pseudo_labelled(folder, X)
    part.unlink()
    with pytest.raises(ValueError, match="part-00000000.parquet is missing"):
        kas.data.pseudo_labelled(folder, X)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"selected": 0, "parts": []}))
    with pytest.raises(ValueError, match="a result with selected rows"):
        kas.data.pseudo_labelled(folder, X)
    (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match="It has no readable manifest.json"):
        kas.data.pseudo_labelled(folder, X)
