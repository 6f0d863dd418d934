"""Who says that it is training, and what a layer does when nobody does; draws of many threads; many layers."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_aug_ssl as kas
from keras_aug_ssl import layers
from keras_aug_ssl.layers.engine.compiling import graphs_of

IMAGES = np.ones((4, 4, 4, 1), "float32")
TARGETS = np.zeros((4, 1), "float32")
AS_IT_IS, AUGMENTED = 256.0, 64.0  # the loss where all 16 pixels are seen, and where half of them are


class Network(keras.Model):
    """The sum of all pixels, behind `augment`, in a `call` that takes no `training`."""

    def __init__(self, augment):
        super().__init__()
        self.augment, self.flat = augment, keras.layers.Flatten()
        self.sum = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")

    def call(self, images):
        return self.sum(self.flat(self.augment(images)))


class InGraph(Network):
    """What calls the layer is a `tf.function`, whose trace is kept."""

    def __init__(self, augment):
        super().__init__(augment)
        self.function = tf.function(augment, autograph=False)

    def call(self, images):
        return self.sum(self.flat(self.function(images)))


class Nested(keras.layers.Layer):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def call(self, images):
        return self.layer(images)


def shift():
    return layers.RandomTranslation((0.5, 0.5), 0.0, fill_mode="constant")


def network(augment=None, model=Network, **kwargs):
    model = model(shift() if augment is None else augment)
    model.compile(keras.optimizers.SGD(0.0), "mse", **kwargs)
    return model


def trained(model):
    return model.fit(IMAGES, TARGETS, batch_size=4, verbose=0).history["loss"][0]


NESTED = {
    "layer": shift,
    "pipeline": lambda: kas.Pipeline([shift()]),
    "choice": lambda: layers.RandomApply([shift()], rate=1.0),
    "sequential": lambda: keras.Sequential([shift()]),
    "in a layer": lambda: Nested(keras.Sequential([Nested(shift())])),
}


@pytest.mark.parametrize("name", NESTED)
def test_fit_augments_without_being_told_and_nothing_else_does(name):
    model = network(NESTED[name]())
    assert trained(model) == AUGMENTED
    assert model.evaluate(IMAGES, TARGETS, verbose=0) == AS_IT_IS
    assert np.all(model.predict(IMAGES, verbose=0) == 16.0) and np.all(model(IMAGES) == 16.0)
    assert trained(model) == AUGMENTED


@pytest.mark.parametrize("kwargs", [{"run_eagerly": True}, {"steps_per_execution": 2}, {"jit_compile": True}])
def test_however_fit_runs(kwargs):
    model = network(**kwargs)
    assert trained(model) == AUGMENTED and model.train_on_batch(IMAGES, TARGETS) == AUGMENTED
    assert model.evaluate(IMAGES, TARGETS, verbose=0) == AS_IT_IS
    assert model.test_on_batch(IMAGES, TARGETS) == AS_IT_IS


def test_validation_within_fit_sees_images_as_they_are():
    history = network().fit(IMAGES, TARGETS, validation_data=(IMAGES, TARGETS), epochs=2, verbose=0).history
    assert history["loss"] == [AUGMENTED] * 2 and history["val_loss"] == [AS_IT_IS] * 2


def test_a_first_call_for_inference_augments_nothing():
    assert np.all(network()(IMAGES) == 16.0) and np.all(network().predict(IMAGES, verbose=0) == 16.0)


def test_export_augments_nothing(tmp_path: Path):
    model = network()
    trained(model)
    model.export(str(tmp_path / "exported"), verbose=False)
    exported = tf.saved_model.load(str(tmp_path / "exported"))
    assert np.all(exported.serve(tf.constant(IMAGES)) == 16.0)


def test_the_trace_of_a_function_is_not_taken_from_training_to_inference():
    model = network(model=InGraph)
    model(IMAGES)  # Keras builds it
    model.function = tf.function(model.augment, autograph=False)
    with pytest.warns(UserWarning, match="RandomTranslation: `training` is not given while a gradient tape records"):
        assert trained(model) == AS_IT_IS
    assert np.all(model.predict(IMAGES, verbose=0) == 16.0)


def test_a_loop_of_ones_own_is_told_what_to_do():
    model = network()
    model(IMAGES)
    with tf.GradientTape() as tape, pytest.warns(UserWarning, match="call the model with training=True"):
        loss = tf.reduce_sum(model(IMAGES))
    assert loss == 64.0 and tape.gradient(loss, model.trainable_variables)[0].shape == (16, 1)

    @tf.function(autograph=False)
    def train_step(images):
        with tf.GradientTape():
            return model(images)

    assert np.all(train_step(IMAGES) == 8.0), "a function of this name is a training step"


# --- threads ----------------------------------------------------------------------------------------------------------


def brightness(images):
    return np.asarray(images).ravel()[0].item()


def test_calls_from_threads_differ():
    layer, found = layers.RandomBrightness((0.0, 1.0), value_range=(0, 1)), []
    black = np.zeros((1, 2, 2, 1), "float32")
    layer(black)

    def call():
        found.extend(brightness(layer(black)) for _ in range(40))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 320


def test_calls_in_a_parallel_map_differ():
    layer = kas.Pipeline([layers.RandomBrightness((0.0, 1.0), value_range=(0, 1))])
    dataset = tf.data.Dataset.from_tensors(np.zeros((1, 2, 2, 1), "float32")).repeat(500)
    found = [brightness(images) for images in dataset.map(layer, num_parallel_calls=8, deterministic=False)]
    assert len(set(found)) == 500


def test_a_seed_settles_the_sequence_and_so_does_keras():
    def sequence(seed=None):
        layer = layers.RandomBrightness((0.0, 1.0), value_range=(0, 1), seed=seed)
        return [brightness(layer(np.zeros((1, 2, 2, 1), "float32"))) for _ in range(3)]

    assert sequence(7) == sequence(7) != sequence(8)
    keras.utils.set_random_seed(3)
    first = sequence()
    keras.utils.set_random_seed(3)
    assert sequence() == first != sequence()


# --- many layers, one after another -----------------------------------------------------------------------------------


def resident_megabytes():
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the memory in use from /proc")
@pytest.mark.parametrize(
    "inside", [lambda layer: layer, lambda layer: kas.Pipeline([layer])], ids=["alone", "pipeline"]
)
@pytest.mark.parametrize("call", ["eager", "function"])
def test_collected_layers_leave_no_memory_behind(inside, call):
    images = np.zeros((4, 16, 16, 3), "uint8")

    def one_more():
        layer = inside(layers.RandomRotation(0.1))
        augment = layer if call == "eager" else tf.function(lambda x: layer(x, training=True), autograph=False)
        augment(tf.constant(images))

    for _ in range(5):
        one_more()
    before = resident_megabytes()
    for _ in range(30):
        one_more()
    # A function of the user's own is a graph of its own, of which TensorFlow keeps about 1 kB an operation.
    allowed = 5.0 if call == "eager" else 24.0
    assert resident_megabytes() - before < allowed, "of 30 layers; compiled anew, each leaves 1.1 to 3.7 behind"


@keras.saving.register_keras_serializable(package="tests")
class Undescribed(layers.RandomBrightness):
    """Of a user who has forgotten `get_config`."""

    def __init__(self, shift):
        super().__init__((shift, shift))

    def get_config(self):
        return {}


@pytest.mark.parametrize("inside", [lambda layer: layer, lambda layer: kas.Pipeline([layer])])
def test_layers_that_do_the_same_share_a_graph_and_no_others_do(inside):
    def graphs(layer):
        return graphs_of(inside(layer))

    same = [layers.RandomRotation(0.1), layers.RandomRotation(0.1, name="another"), layers.RandomRotation(0.1, seed=3)]
    assert graphs(same[0]) is graphs(same[1]) is graphs(same[2])
    replaced = layers.RandomRotation(0.1)
    replaced.draw = lambda spec, key: layers.RandomRotation.draw(replaced, spec, key)
    others = [
        replaced,
        layers.RandomRotation(0.2),
        layers.RandomRotation(0.1, data_format="channels_first"),
        layers.Remix(num_classes=3),  # counts what it has seen
        layers.Remix(num_classes=3),
        kas.Pipeline.from_keras([keras.layers.GaussianNoise(1.0, seed=1)]),  # draws from a state of its own
        kas.Pipeline.from_keras([keras.layers.GaussianNoise(1.0, seed=1)]),
        Undescribed(0.1),
        Undescribed(0.3),
    ]
    found = [graphs(same[0]), *map(graphs, others)]
    assert len({id(graph) for graph in found}) == len(found)


GREY = np.full((1, 4, 4, 3), 100, "uint8")


@pytest.mark.parametrize("make", [
    lambda: layers.RandomBrightness((0.1, 0.1)),
    lambda: Undescribed(0.1),
    lambda: kas.Pipeline([layers.RandomBrightness((0.1, 0.1))]),
    lambda: kas.Pipeline.from_keras([keras.layers.RandomBrightness((0.1, 0.1)), keras.layers.Rescaling(1.0)]),
], ids=["of ours", "of a user's", "held", "beside a stock layer"])  # fmt: skip
def test_a_layer_changed_after_a_call_does_what_it_is_now(make):
    layer = make()
    part = getattr(layer, "layers", [layer])[0]
    calls = [lambda: layer(GREY, training=True)]
    calls += [lambda: layer.on_arrays(GREY)] if isinstance(layer, kas.Pipeline) else []
    for factor, expected in ((0.1, 125.5), (0.4, 202.0)):
        part.factor = (factor, factor)
        for call in calls:
            assert abs(float(np.max(call())) - expected) <= 0.5


def test_equal_layers_draw_on_by_themselves_with_one_graph():
    images = np.full((4, 2, 2, 1), 0.5, "float32")

    def sequence(layer):
        return [brightness(layer(images)) for _ in range(2)]

    made = [layers.RandomBrightness((0.0, 0.5), value_range=(0, 1), seed=7) for _ in range(2)]
    first = sequence(made[0])
    assert sequence(made[1]) == first != sequence(made[0])


def test_a_layer_that_was_changed_leaves_equal_ones_alone():
    def dim(images):
        return brightness(layers.RandomBrightness((0.1, 0.1), value_range=(0, 1))(images))

    small, large = (np.full((1, side, side, 1), 0.5, "float32") for side in (2, 3))
    first = layers.RandomBrightness((0.1, 0.1), value_range=(0, 1))
    before = brightness(first(small))
    first.factor = (0.4, 0.4)  # before the graph has seen large images
    assert brightness(first(small)) == pytest.approx(before + 0.3, abs=1e-3)
    assert dim(small) == dim(large) == before
