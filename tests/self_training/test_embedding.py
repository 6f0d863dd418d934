"""Features of a frozen backbone: what predict makes of each row, once, in a file that is whole or not there."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from tests.helpers import network

IMAGES = np.random.default_rng(0).integers(0, 256, (37, 6, 6, 1), "uint8")


def backbone(seed=0, noisy=False):
    kernel = keras.initializers.RandomNormal(0.5, seed=seed)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Conv2D(4, 3, kernel_initializer=kernel)]
    layers += [keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)] * noisy
    return keras.Sequential([keras.Input((6, 6, 1)), *layers, keras.layers.GlobalAveragePooling2D()])


class Batches(keras.utils.PyDataset):
    def __init__(self, several=False):
        super().__init__()
        self.several = several

    def __len__(self):
        return 4

    def __getitem__(self, number):
        x = IMAGES[10 * number : 10 * number + 10]
        return ({"image": x} if self.several else x), np.zeros(len(x))


@pytest.mark.parametrize("batch_size", [1, 16, 64])
@pytest.mark.parametrize("noisy", [False, True])
def test_features_are_what_predict_puts_out(tmp_path, batch_size, noisy):
    model = backbone(noisy=noisy)
    before = model.get_weights()
    expected = model.predict(IMAGES, verbose=0)
    np.testing.assert_allclose(kas.embed(model, IMAGES, batch_size=batch_size), expected, rtol=1e-5)
    mapped = kas.embed(model, IMAGES, tmp_path / "features.npy", batch_size=batch_size)
    np.testing.assert_allclose(mapped, expected, rtol=1e-5)
    assert isinstance(mapped, np.memmap) and mapped.dtype == np.float32 and not mapped.flags.writeable
    np.testing.assert_array_equal(np.load(tmp_path / "features.npy"), mapped)
    assert all(np.array_equal(one, other) for one, other in zip(before, model.get_weights(), strict=True))


def test_wherever_rows_come_from(tmp_path):
    model, expected = backbone(), backbone().predict(IMAGES, verbose=0)
    np.save(tmp_path / "rows.npy", IMAGES)
    for number, image in enumerate(IMAGES):
        tf.io.write_file(str(tmp_path / f"images/{number:02d}.png"), tf.io.encode_png(image))
    several = keras.Model({"image": (image := keras.Input((6, 6, 1), name="image", dtype="uint8"))}, model(image))
    stream = tf.data.Dataset.from_tensor_slices(IMAGES)
    for each in (kas.UnlabeledPool(IMAGES), stream, stream.batch(8), Batches(), tmp_path / "rows.npy",
                 str(tmp_path / "images")):  # fmt: skip
        np.testing.assert_allclose(kas.embed(model, each), expected, rtol=1e-5)
    for each in ({"image": IMAGES}, Batches(several=True), tf.data.Dataset.from_tensor_slices({"image": IMAGES})):
        np.testing.assert_allclose(kas.embed(several, each), expected, rtol=1e-5)


def test_features_of_tokens_keep_their_axes():
    inputs = {name: keras.Input((5,), dtype="int32", name=name) for name in ("token_ids", "padding_mask")}
    x = keras.layers.Embedding(9, 3)(inputs["token_ids"]) * keras.ops.cast(inputs["padding_mask"], "float32")[..., None]
    model = keras.Model(inputs, {"sequence_output": x, "pooled_output": x[:, 0]})
    tokens = {"token_ids": np.tile(np.arange(5, dtype="int32"), (7, 1)), "padding_mask": np.ones((7, 5), "int32")}
    with pytest.raises(ValueError, match=r"embed: `backbone` must be a model with one output; .*'pooled_output'"):
        kas.embed(model, tokens)
    chosen = keras.Model(model.inputs, model.output["sequence_output"])
    assert kas.embed(chosen, tokens).shape == (7, 5, 3)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras's save_model
def test_a_finished_file_of_the_same_backbone_and_rows_is_used_as_it_is(tmp_path):
    path, model, calls = tmp_path / "features.npy", backbone(), []
    kas.embed(model, IMAGES, path)
    written = path.stat().st_mtime_ns

    class Counting(kas.UnlabeledPool):
        def blocks(self, size):
            calls.append(size)
            return super().blocks(size)

    keras.models.save_model(model, tmp_path / "backbone.keras")
    for again in (model, keras.models.load_model(tmp_path / "backbone.keras")):
        kas.embed(again, Counting(IMAGES), path)
    model.compile("adam", "mse")
    kas.embed(model, Counting(IMAGES.copy()), path)
    model.trainable = False
    kas.embed(model, Counting(IMAGES), path)
    assert not calls and path.stat().st_mtime_ns == written


@pytest.mark.parametrize("other", ["backbone", "rows", "foreign", "half"])
def test_anything_else_is_never_overwritten(tmp_path, other):
    path = tmp_path / "features.npy"
    if other == "foreign":
        np.save(path, IMAGES)
    else:
        kas.embed(backbone(1 if other == "backbone" else 0), IMAGES[1:] if other == "rows" else IMAGES, path)
    if other == "half":
        path.write_bytes(path.read_bytes()[:-80])
    before = path.read_bytes()
    message = "a new file" if other in ("foreign", "half") else "It holds those of another backbone or of other rows"
    with pytest.raises(ValueError, match=f"embed: `path` must be .*{message}"):
        kas.embed(backbone(), IMAGES, path)
    assert path.read_bytes() == before


def test_a_run_that_fails_half_way_leaves_nothing(tmp_path):
    class Failing(kas.UnlabeledPool):
        def blocks(self, size):
            yield next(super().blocks(16))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kas.embed(backbone(), Failing(IMAGES), tmp_path / "features.npy")
    assert not list(tmp_path.iterdir())


def test_rows_that_are_not_finite_have_features_that_are_not():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Lambda(lambda x: tf.where(x > 0, x, 0.0))])
    x = np.ones((5, 3), "float32")
    x[2, 1] = np.nan
    assert np.isfinite(model.predict(x, verbose=0)).all()
    np.testing.assert_array_equal(np.isnan(kas.embed(model, x)).all(axis=1), np.arange(5) == 2)


def test_half_precision_and_self_training_on_features(tmp_path):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = backbone()
    finally:
        keras.config.set_dtype_policy("float32")
    features = kas.embed(model, IMAGES, tmp_path / "features.npy")
    assert features.dtype == np.float32
    st = kas.SelfTraining(features, kas.rules.TopK(2), start_epoch=0)
    made = st.training_set(np.asarray(features[:8]), np.arange(8) % 4, batch_size=8, steps=2)
    network(classes=4).fit(made, epochs=2, callbacks=[st], verbose=0)
    assert st.table()["selected"].any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: kas.embed(np.mean, IMAGES), TypeError, "`backbone` must be a Keras model"),
        (lambda: kas.embed(backbone(), IMAGES, "features.bin"), ValueError, "`path` must be the path of a .npy file"),
        (lambda: kas.embed(backbone(), IMAGES, batch_size=0), ValueError, "`batch_size` must be"),
        (lambda: kas.embed(backbone(), IMAGES, "nowhere/x.npy"), FileNotFoundError, "nowhere/x.npy"),
    ],
)
def test_bad_input_is_named(make, error, message):
    with pytest.raises(error, match=message):
        make()
