"""AugMix and its loss; the two views of the consistency methods."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import draws, layers
from keras_aug_ssl.layers.policies import OPERATIONS
from keras_aug_ssl.losses import augmented_views, jensen_shannon

KEY = (7, 3)
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 16, 18, 3), dtype=np.uint8)


def spec(count):
    return layers.Spec(count, 16, 18, 3)


# --- AugMix -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_weights_are_dirichlet_and_beta(alpha):
    """Dirichlet(alpha) over K: means 1 / K, variances (K - 1) / (K^2 (K alpha + 1)), a sum of 1."""
    drawn = layers.AugMix(alpha=alpha).sample(spec(4000), KEY)
    weights, weight = drawn["chain_weights"].numpy(), drawn["weight"].numpy()
    assert np.allclose(weights.sum(1), 1.0, atol=1e-6) and weights.min() >= 0.0
    assert np.all(abs(weights.mean(0) - 1 / 3) < 4 * weights.std(0) / np.sqrt(4000))
    assert np.allclose(weights.var(0), 2 / (9 * (3 * alpha + 1)), rtol=0.12)
    assert np.isclose(weight.var(), 1 / (4 * (2 * alpha + 1)), rtol=0.12)


def test_depth_is_one_to_three_as_often_each():
    chain = layers.AugMix(factor=(0.5, 0.5))._chain
    operation, strength, _ = (part.numpy() for part in chain.chosen(spec(3000), draws.as_key((1, 2))))
    depth = np.sum(strength > 0, 1)
    assert np.all(abs(np.bincount(depth, minlength=4)[1:] - 1000) < 4 * np.sqrt(3000 * 2 / 9))
    assert OPERATIONS.index("identity") not in operation


def test_operations_like_the_test_corruptions_can_be_left_out():
    chain = layers.AugMix(all_ops=False)._chain
    drawn = {OPERATIONS[place] for place in np.unique(chain.chosen(spec(500), draws.as_key((1, 2)))[0])}
    assert len(drawn) == 9 and not drawn & {"brightness", "color", "contrast", "sharpness"}


@pytest.mark.usefixtures("without_graphs")
def test_images_are_the_mean_of_chains_and_image():
    """One chain by itself is the policy with the same parameters; all of them are averaged by their weights."""
    layer, images = layers.AugMix(), IMAGES.astype("float32")
    drawn = layer.sample(images, KEY)
    chains = [np.asarray(layer._chain.apply(images, drawn[f"chain_{k}"])) for k in range(3)]
    mean = sum(drawn["chain_weights"].numpy()[:, k, None, None, None] * chain for k, chain in enumerate(chains))
    weight = drawn["weight"].numpy()[:, None, None, None]
    assert np.allclose(layer.apply(images, drawn), weight * images + (1 - weight) * mean, atol=1e-2)


@pytest.mark.usefixtures("without_graphs")
def test_labels_pass_and_what_moves_is_refused():
    images, labels = layers.AugMix()((IMAGES, np.arange(6)))
    assert images.dtype == "uint8" and np.array_equal(labels, np.arange(6))
    for extra in (
        {"segmentation_masks": IMAGES[..., :1]},
        {"keypoints": np.zeros((6, 1, 2), "float32")},
        {"bounding_boxes": {"boxes": np.zeros((6, 1, 4), "float32"), "labels": np.zeros((6, 1))}},
    ):
        with pytest.raises(ValueError, match="RandAugment and TrivialAugment take it along"):
            layers.AugMix(bounding_box_format="xyxy")({"images": IMAGES, **extra})


# --- the loss ---------------------------------------------------------------------------------------------------------


def probabilities(count=5, views=3, classes=4):
    logits = np.random.default_rng(0).normal(size=(count, views, classes)).astype("float32")
    return tf.nn.softmax(logits).numpy()


def test_divergence_is_the_formula():
    p = probabilities().astype("float64")
    mixture = p.mean(1, keepdims=True)
    expected = np.sum(p * np.log(p / mixture), 2).mean(1)
    assert np.allclose(jensen_shannon(tf.math.log(p)), expected, atol=1e-6)


def test_divergence_lies_between_0_and_log_n():
    alike = np.repeat(probabilities()[:, :1], 3, 1)
    apart = np.eye(3, dtype="float32")[None] * (1 - 2e-7) + 1e-7
    assert np.allclose(jensen_shannon(tf.math.log(alike)), 0.0, atol=1e-6)
    assert np.isclose(jensen_shannon(tf.math.log(apart))[0], np.log(3), atol=1e-4)


@pytest.mark.parametrize("sparse", [True, False])
def test_loss_is_cross_entropy_of_clean_rows_and_twelve_divergences(sparse):
    p, labels = probabilities(), np.array([0, 1, 2, 3, 0])
    kind = keras.losses.SparseCategoricalCrossentropy if sparse else keras.losses.CategoricalCrossentropy
    rows = np.repeat(labels if sparse else np.eye(4)[labels], 3, 0)
    weight = np.array([[1, 0, 0], [2, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0]], "float32")
    cross_entropy = -np.log(p[np.arange(5), 0, labels])
    divergence = jensen_shannon(tf.math.log(p)).numpy()
    expected = np.mean(weight[:, 0] * (cross_entropy + 12 * divergence))
    given = kas.AugMixLoss(kind())(rows, p.reshape(15, 4), weight.ravel())
    logits = kas.AugMixLoss(kind(from_logits=True))(rows, np.log(p.reshape(15, 4)), weight.ravel())
    assert np.isclose(given, expected, atol=1e-5) and np.isclose(logits, expected, atol=1e-5)


def test_rows_without_weights_are_plain_images():
    """As validation data are: the loss it was given, and nothing else."""
    p, labels = probabilities().reshape(15, 4), np.arange(15) % 4
    base = keras.losses.SparseCategoricalCrossentropy()
    assert np.isclose(kas.AugMixLoss(base)(labels, p), base(labels, p))
    assert np.isclose(kas.AugMixLoss(base)(labels[:7], p[:7]), base(labels[:7], p[:7]))


def test_saturated_predictions_have_finite_gradients():
    for from_logits, outputs in ((True, 1e4 * np.eye(3)), (False, np.eye(3))):
        outputs = tf.constant(outputs, tf.float32)
        loss = kas.AugMixLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=from_logits))
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            value = loss(np.zeros(3), outputs, np.array([1.0, 0.0, 0.0]))
        assert np.isfinite(value) and np.all(np.isfinite(tape.gradient(value, outputs)))


def test_batches_that_are_no_views_are_refused():
    with pytest.raises(ValueError, match="augmented_views"):
        kas.AugMixLoss()(np.zeros(4), np.ones((4, 2)) / 2, np.ones(4))
    with pytest.raises(TypeError, match="`loss` must be"):
        kas.AugMixLoss("mse")
    with pytest.raises(ValueError, match="`dataset` must be"):
        augmented_views(tf.data.Dataset.from_tensor_slices(IMAGES).batch(2), layers.AugMix())


def test_views_stand_behind_their_image():
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(6), np.linspace(1, 2, 6))).batch(4)
    runs = [list(augmented_views(dataset, layers.RandomNoise(0.3), views=4, seed=1)) for _ in range(2)]
    for (x, y, weight), (again, _, _), (images, labels, given) in zip(*runs, dataset, strict=True):
        rows = len(labels)
        assert x.dtype == "uint8" and np.array_equal(x[::4], images) and np.array_equal(y, np.repeat(labels, 4))
        assert np.allclose(weight.numpy().reshape(rows, 4), np.asarray(given)[:, None] * [1, 0, 0, 0])
        assert np.array_equal(x, again)  # from the seed, and in the first pass of each
        assert len({view.tobytes() for view in x.numpy()}) == 4 * rows


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras 3.15 on NumPy 2 saves so
def test_fit_evaluate_save_and_load(tmp_path):
    dataset = tf.data.Dataset.from_tensor_slices((IMAGES, np.arange(6) % 3)).batch(3)
    model = keras.Sequential([keras.Input((16, 18, 3)), keras.layers.Flatten(), keras.layers.Dense(3)])
    loss = kas.AugMixLoss(keras.losses.SparseCategoricalCrossentropy(from_logits=True), weight=6.0)
    model.compile("sgd", loss, weighted_metrics=["accuracy"])
    views = augmented_views(dataset, layers.RandomFlip())
    history = model.fit(views, validation_data=(IMAGES, np.arange(6) % 3), epochs=1, verbose=0).history
    assert np.isfinite(history["loss"][0]) and np.isfinite(history["val_loss"][0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.loss.get_config() == loss.get_config() and loaded.loss.weight == 6.0


# --- weak and strong --------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("without_graphs")
def test_weak_view_moves_and_leaves_values():
    assert str(layers.weak_augmentation(flip=False).plan()) == "1. resample: RandomTranslation"
    view = layers.weak_augmentation()(np.full((4, 8, 8, 3), 9, "uint8"))
    assert np.all(np.asarray(view) == 9)


@pytest.mark.usefixtures("without_graphs")
def test_strong_view_reads_the_image_once():
    plan = layers.strong_augmentation().plan()
    assert plan[0].layers == ["RandomFlip", "RandomTranslation", "RandomAffine"]
    assert [step.what for step in plan].count("resample") == 1 and plan[-1].what == "erase"
    images = IMAGES / np.float32(255)
    view = np.asarray(layers.strong_augmentation(value_range=(0, 1), seed=1)(images))
    assert view.min() >= 0 and view.max() <= 1 and not np.any(np.all(view == images, (1, 2, 3)))
