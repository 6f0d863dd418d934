"""`Pipeline.map`: what happens to an image is a function of seed, epoch and position, and of nothing else."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import draws, layers

IMAGES = np.random.default_rng(0).integers(0, 256, (11, 8, 9, 3), dtype=np.uint8)
LABELS = np.arange(11)


def augment(**kwargs):
    parts = [layers.RandomRotation(0.1), layers.RandomContrast(0.5), layers.RandomErasing(scale=(0.1, 0.3))]
    return kas.Pipeline(parts, **{"jit_compile": False, **kwargs})


def rows(dataset, batched=True):
    """Everything a pass over the data yields, as arrays."""
    parts = list(dataset)
    join = np.concatenate if batched else np.stack
    return tf.nest.map_structure(lambda *leaves: join([np.asarray(leaf) for leaf in leaves]), *parts)


def images(batch_size=4, **kwargs):
    return tf.data.Dataset.from_tensor_slices(IMAGES).batch(batch_size, **kwargs)


# --- seed, epoch, position --------------------------------------------------------------------------------------------


def test_workers_and_batch_sizes_make_no_difference():
    one = rows(augment().map(images(), seed=7, num_parallel_calls=1))
    for dataset, workers in (
        (images(), 2),
        (images(), tf.data.AUTOTUNE),
        (images(), None),
        (images(5), 2),
        (images(1), 2),
    ):
        assert np.array_equal(rows(augment().map(dataset, seed=7, num_parallel_calls=workers)), one)


def test_single_images_are_treated_like_batches():
    singly = augment().map(tf.data.Dataset.from_tensor_slices(IMAGES), seed=7)
    assert singly.element_spec.shape == (8, 9, 3)
    assert np.array_equal(rows(singly, batched=False), rows(augment().map(images(), seed=7)))


def test_single_images_are_augmented_in_blocks():
    """Over several blocks the bits, the order and the number are those of batches, and a pass can be left anywhere."""
    many = np.random.default_rng(1).integers(0, 256, (600, 4, 5, 3), dtype=np.uint8)
    singles = tf.data.Dataset.from_tensor_slices((many, np.arange(600)))
    mapped = augment().map(singles, seed=7, epoch=1)
    together = rows(augment().map(singles.batch(70), seed=7, epoch=1))
    found = rows(mapped, batched=False)
    assert np.array_equal(found[0], together[0]) and found[1].tolist() == list(range(600))
    assert mapped.cardinality() == 600 and mapped.element_spec == singles.element_spec
    assert augment().map(singles.repeat(), seed=7).cardinality() == tf.data.INFINITE_CARDINALITY
    assert augment().map(singles.filter(lambda x, y: y > 3), seed=7).cardinality() == tf.data.UNKNOWN_CARDINALITY
    assert np.array_equal(rows(mapped.take(300), batched=False)[0], together[0][:300])


def test_few_single_images_are_held_at_once():
    """However large they are and however many come: what is read ahead is a block."""
    sizes = []

    class Recording(layers.RandomInvert):
        def draw(self, spec, key):
            tf.numpy_function(lambda n: sizes.append(int(n)), [spec.batch_size], [])
            return super().draw(spec, key)

    large = tf.data.Dataset.from_tensors(np.zeros([1024, 1024, 1], "uint8")).repeat(9)
    assert len(list(kas.Pipeline([Recording(0.5)], jit_compile=False).map(large, seed=1))) == 9
    assert sizes == [4, 4, 4]  # the last one at full size


def test_images_of_different_sizes_are_augmented_one_by_one():
    sizes = [(8, 9), (4, 5), (8, 9), (7, 3)]
    ragged = tf.data.Dataset.from_generator(
        lambda: (IMAGES[i, :height, :width] for i, (height, width) in enumerate(sizes)),
        output_signature=tf.TensorSpec([None, None, 3], tf.uint8),
    )
    mapped = list(augment().map(ragged, seed=7))
    assert [image.shape[:2] for image in mapped] == sizes
    for i in (0, 2):
        assert np.array_equal(mapped[i], rows(augment().map(images(), seed=7))[i])


def test_a_saved_iterator_goes_on_within_a_block(tmp_path):
    singles = tf.data.Dataset.from_tensor_slices(np.repeat(IMAGES, 40, 0))
    whole = rows(augment().map(singles, seed=7, epoch=2), batched=False)
    iterator = iter(augment().map(singles, seed=7, epoch=2))
    for _ in range(300):
        next(iterator)
    saved = tf.train.Checkpoint(iterator=iterator).save(str(tmp_path / "iterator"))
    resumed = iter(augment().map(singles, seed=7, epoch=2))
    tf.train.Checkpoint(iterator=resumed).restore(saved)
    assert np.array_equal(np.stack(list(resumed)), whole[300:])


def test_the_key_is_that_of_a_call():
    """Replay: an epoch given as a number, and the image's position, name what was drawn."""
    mapped = rows(augment().map(images(), seed=7, epoch=3))
    key = draws.fold_in(draws.as_key(7), 3)
    assert np.array_equal(mapped, augment()(IMAGES, seed=key))
    drawn = augment().sample(IMAGES[8:], key, first=8)
    assert np.array_equal(mapped[8:], augment().apply(IMAGES[8:], drawn))


def test_every_epoch_is_new_and_every_run_the_same():
    first, second = augment().map(images(), seed=7), augment().map(images(), seed=7)
    epochs = [rows(first) for _ in range(3)]
    assert len({epoch.tobytes() for epoch in epochs}) == 3
    assert all(np.array_equal(epoch, rows(second)) for epoch in epochs)
    assert not np.array_equal(epochs[0], rows(augment().map(images(), seed=8)))


def test_the_seed_may_be_the_pipelines_own():
    assert np.array_equal(rows(augment(seed=7).map(images())), rows(augment().map(images(), seed=7)))
    assert not np.array_equal(rows(augment().map(images())), rows(augment().map(images())))


def test_an_epoch_counter_continues_after_a_resume():
    class Watch(keras.Model):
        """Keeps the sum of every batch it trains on, by epoch."""

        def __init__(self):
            super().__init__()
            self.seen = tf.Variable(tf.zeros([4]), trainable=False)
            self.epoch = tf.Variable(0)

        def train_step(self, data):
            self.seen.scatter_nd_add([[self.epoch]], [tf.reduce_sum(tf.cast(data, tf.float32))])
            return {"loss": 0.0}

    def trained(first, last):
        counter, model = kas.data.EpochCounter(), Watch()
        model.compile()
        follow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: model.epoch.assign(epoch))
        data = augment().map(images(), seed=7, epoch=counter)
        model.fit(data, epochs=last, initial_epoch=first, callbacks=[counter, follow], verbose=0)
        return model.seen.numpy()

    whole = trained(0, 4)
    assert len(set(whole)) == 4
    assert np.array_equal(trained(0, 2) + trained(2, 4), whole)


def test_an_epoch_variable_is_read_once_a_pass():
    epoch = tf.Variable(2, dtype=tf.int64)
    dataset = augment().map(images(), seed=7, epoch=epoch)
    second = rows(dataset)
    iterator = iter(dataset)
    next(iterator)
    epoch.assign(5)
    assert np.array_equal(np.concatenate([batch for batch in iterator]), second[4:])
    assert np.array_equal(rows(dataset), rows(augment().map(images(), seed=7, epoch=5)))


# --- compilation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [11, 12])
def test_the_last_batch_has_its_own_size_but_runs_at_the_full_one(count):
    """What is compiled sees batches of 4 only, and is compiled once: the sizes drawn for are recorded as they come."""
    sizes = []

    class Recording(layers.RandomInvert):
        def draw(self, spec, key):
            tf.numpy_function(lambda n: sizes.append(int(n)), [spec.batch_size], [])
            return super().draw(spec, key)

    dataset = kas.Pipeline([Recording(0.5)], jit_compile=False).map(
        images(12).unbatch().repeat().take(count).batch(4), seed=1
    )
    assert [len(batch) for batch in dataset] == [4, 4, 4 if count == 12 else 3]
    assert sizes == [4, 4, 4]


def test_batches_of_one_size_keep_it_in_the_type():
    mapped = augment().map(images(drop_remainder=True), seed=1)
    assert mapped.element_spec.shape == (4, 8, 9, 3)
    assert augment().map(images(), seed=1).element_spec.shape.as_list() == [None, 8, 9, 3]


def test_an_empty_dataset_stays_empty():
    assert not list(augment().map(images().take(0), seed=1))


# --- elements ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("kind", ["(x, y)", "(x, y, w)", "dict"])
def test_what_comes_with_the_images_comes_through(kind, batched):
    weights, masks = np.linspace(0, 1, 11), (IMAGES[..., :1] > 128).astype("uint8")
    elements = {
        "(x, y)": (IMAGES, LABELS),
        "(x, y, w)": (IMAGES, {"class": LABELS, "name": np.array(list("abcdefghijk"))}, weights),
        "dict": {"images": IMAGES, "segmentation_masks": masks, "labels": LABELS},
    }[kind]
    dataset = tf.data.Dataset.from_tensor_slices(elements)
    mapped = rows(augment().map(dataset.batch(4) if batched else dataset, seed=7), batched)
    alone = rows(augment().map(images(), seed=7))
    key = draws.fold_in(draws.as_key(7), draws_epoch(7))
    together = augment()(elements, seed=key)
    tf.nest.assert_same_structure(mapped, elements)
    assert np.array_equal(mapped["images"] if kind == "dict" else mapped[0], alone)
    for one, other in zip(tf.nest.flatten(mapped), tf.nest.flatten(together), strict=True):
        assert np.array_equal(one, other)


def draws_epoch(seed):
    """The number that tells the first pass of a process from later ones, as `map` reads it."""
    return next(iter(tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)))


def test_batches_of_numbers_do_not_share_draws():
    """A batch of examples that are no images moves the position on by its rows, as images do."""
    numbers = tf.data.Dataset.from_tensor_slices(np.arange(24.0, dtype="float32").reshape(12, 2)).batch(6)
    mixed = kas.Pipeline([layers.MixUp(1.0)]).map(numbers, seed=3, epoch=0)
    positions = []

    class Recording(layers.MixUp):
        def draw(self, spec, key):
            tf.numpy_function(lambda first: positions.append(int(first)), [spec.first], [])
            return super().draw(spec, key)

    list(kas.Pipeline([Recording(1.0)]).map(numbers, seed=3, epoch=0))
    assert positions == [0, 6] and len(list(mixed)) == 2


@pytest.mark.parametrize(
    "dataset, message",
    [
        (tf.data.Dataset.from_tensor_slices(IMAGES[0, 0]), "images"),
        (tf.data.Dataset.from_tensor_slices({"images": IMAGES, "depth": LABELS}).batch(4), "depth"),
        (IMAGES, "tf.data.Dataset"),
    ],
    ids=["rank", "key", "array"],
)
def test_what_cannot_be_mapped_is_said_at_once(dataset, message):
    with pytest.raises((ValueError, TypeError), match=message):
        augment().map(dataset, seed=1)


def test_uint8_images_outside_the_value_range_are_an_error():
    with pytest.raises(ValueError, match="value_range"):
        kas.Pipeline([layers.RandomBrightness(0.1, value_range=(0, 1))]).map(images(), seed=1)


@pytest.mark.parametrize("dtype", ["uint16", "int32"])
def test_what_would_be_clipped_ends_the_map_as_it_ends_a_call(dtype):
    inside, outside = np.full((1, 4, 4, 1), 200, dtype), np.full((1, 4, 4, 1), 3000, dtype)
    pipeline = kas.Pipeline([layers.RandomBrightness((0.1, 0.1))], jit_compile=False)
    assert next(iter(pipeline.map(tf.data.Dataset.from_tensors(inside), seed=1))).dtype == dtype
    for mapped in (pipeline.map(tf.data.Dataset.from_tensors(outside), seed=1),) + (
        tf.data.Dataset.from_tensors(outside).map(pipeline),
    ):
        with pytest.raises(tf.errors.InvalidArgumentError, match="must be within value_range"):
            list(mapped)


@pytest.mark.parametrize("sizes", [(3, 0, 2), (0, 3), (0, 0)])
def test_empty_batches_stay_empty(sizes):
    spec = tf.TensorSpec([None, 8, 9, 3], "uint8")
    source = tf.data.Dataset.from_generator(lambda: (IMAGES[:size] for size in sizes), output_signature=spec)
    for some in ([layers.RandomCrop(4, 5)], [layers.RandomRotation(0.1), layers.RandomCrop(4, 5)]):
        mapped = [batch.shape for batch in kas.Pipeline(some).map(source, seed=1)]
        assert mapped == [(size, 4, 5, 3) for size in sizes]
        assert kas.Pipeline(some)(IMAGES[:0], training=True).shape == (0, 4, 5, 3)
