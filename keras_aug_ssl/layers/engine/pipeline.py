"""Several layers as one: planned once, drawn together, executed in as few passes as their order allows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.layers.engine import planning
from keras_aug_ssl.layers.engine.arrays import ArrayCalls
from keras_aug_ssl.layers.engine.base import AugmentationLayer
from keras_aug_ssl.layers.engine.composite import CompositeLayer
from keras_aug_ssl.layers.engine.indexed import Augment, is_grain
from keras_aug_ssl.layers.engine.interop import StockLayer, translate
from keras_aug_ssl.layers.engine.streams import Place, at_full_size, block_size, images_of, placed, singly


class Pass(NamedTuple):
    """One pass over the pixels: what it does, and the layers that share it, by their places in the user's order."""

    what: str
    layers: list[str]


class Plan(tuple[Pass, ...]):
    """The passes of a pipeline, in the order they run. Print it to read it."""

    def __str__(self) -> str:
        lines = [f"{number}. {what}: {' + '.join(layers)}" for number, (what, layers) in enumerate(self, 1)]
        return "\n".join(lines) or "nothing to do"


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class Pipeline(CompositeLayer):
    """Applies layers in order, and fuses neighbours of one family.

    Adjacent geometric layers become one matrix and one resampling, so nothing is blurred twice; adjacent color layers
    one matrix product; adjacent tone layers one table. The order is the user's, except that a mirror may pass layers
    that change every pixel by itself (which is exact). Values are clipped, and filled beyond the border, once a fused
    run.

    A `Pipeline` is a Keras layer: put it in a model, call it on a batch, map it over a `tf.data.Dataset`, or put it in
    another pipeline.

    Args:
        layers: augmentation layers, or pipelines of them.
        jit_compile: `"auto"` compiles the passes with XLA wherever the images' size is static; True and False force it.
        volumes: True takes what is of rank 4 for one volume (D, H, W, C), as in a data set that isn't batched, and not
            for a batch of images. Of rank 5, (B, D, H, W, C), it is volumes in any case. All slices get one draw.
        **kwargs: `seed`, `data_format`, `bounding_box_format` and `name`, as for `CompositeLayer`: they hold for the
            batch, and where they aren't given, those of the layers do.

    Example:
        >>> augment = kas.Pipeline([kas.layers.RandomRotation(0.1), kas.layers.RandomZoom(0.1),
        ...                         kas.layers.RandomContrast(0.3)], seed=7)
        >>> print(augment.plan())
        1. resample: RandomRotation + RandomZoom
        2. color: RandomContrast
        >>> images = np.zeros((4, 8, 8, 3), "uint8")
        >>> parameters = augment.sample(images, seed=(7, 0))
        >>> np.array_equal(augment.apply(images, parameters), augment(images, seed=(7, 0)))
        True
    """

    def __init__(
        self,
        layers: Sequence[AugmentationLayer],
        jit_compile: bool | str = "auto",
        *,
        volumes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(layers, **kwargs)
        self.volumes = bool(volumes)
        self.jit_compile = checks.one_of("Pipeline", "jit_compile", jit_compile, ("auto", True, False))

    @property
    def random(self) -> bool:  # type: ignore[override]
        return any(layer.random for layer in self.layers)

    def plan(self) -> Plan:
        """Says what is executed together, in which order."""
        layers = self.primitives()
        return Plan(
            Pass(run.family.what, [_name(layers[index]) for index in run.indices]) for run in planning.runs(layers)
        )

    def map(
        self,
        dataset: Any,
        seed: int | None = None,
        epoch: Any = None,
        num_parallel_calls: int | None = tf.data.AUTOTUNE,
    ) -> Any:
        """Maps the pipeline over a data set, reproducibly.

        What happens to an image is a pure function of (seed, epoch, position of the image in the data set): the same
        for any number of workers, and for any batch size but for rounding: compiled for another size, an interpolated
        value in some hundred thousand comes out one level apart. A last, smaller batch is filled up and cut again, so
        that it needs no compilation of its own. Single images of one size are collected, augmented together and handed
        out singly again, so that they cost about what batches do; sizes that differ are augmented one by one.

        Of a Grain data set, what happens to an element, an image or a batch of them, is a pure function of (seed,
        epoch, index of the element): read twice it is the same, and it is another in each epoch of a repeated data
        set. NumPy arrays come in and go out, in Grain's worker processes too.

        Args:
            dataset: of anything the pipeline can be called with, in batches or single images: a `tf.data.Dataset`, or
                a `MapDataset` or `IterDataset` of Grain (which need not be installed).
            seed: int; None takes the pipeline's own, or draws one.
            epoch: what tells one pass over the data from the next: an int, a scalar `tf.Variable`, or an object with
                such an `epoch` attribute (`kas.data.EpochCounter`, a callback that follows `fit`, also after a resume).
                None counts the passes itself, from the first one in this process; Grain's index counts them.
            num_parallel_calls: as for `tf.data.Dataset.map`; Grain has its own `ReadOptions` and `mp_prefetch`.

        Returns:
            A data set of the same kind and structure; its elements come in order.

        Example:
            >>> images = tf.data.Dataset.from_tensor_slices(np.zeros((10, 8, 8, 1), "uint8")).batch(4)
            >>> augmented = kas.Pipeline([kas.layers.RandomBrightness(0.5)]).map(images, seed=7)
            >>> [batch.shape[0] for batch in augmented]
            [4, 4, 2]
        """
        seed = self.seed if seed is None else seed
        seed = draws.fresh_seed() if seed is None else checks.integer("Pipeline.map", "seed", seed)
        if is_grain(dataset):
            return dataset.random_map(Augment(self, seed, epoch), seed=0)  # which is told apart by our own seed
        if not isinstance(dataset, tf.data.Dataset):
            expected = "a tf.data.Dataset, or a MapDataset or IterDataset of Grain"
            checks.fail("Pipeline.map", "dataset", expected, dataset, error=TypeError)
        shape = images_of(dataset.element_spec).shape
        batched = shape.rank == 5 or shape.rank == 4 and not self.volumes
        batched = batched or not self.independent  # what is mixed comes in batches, of any rank
        block = 1 if batched else block_size(dataset.element_spec)
        if block > 1:
            return singly(self.map(dataset.batch(block), seed, epoch, num_parallel_calls), dataset)
        specs, uneven = tf.nest.flatten(dataset.element_spec), (tf.RaggedTensorSpec, tf.SparseTensorSpec)
        dense = not any(isinstance(spec, uneven) for spec in specs)
        fill = batched and self.independent and shape[0] is None and dense  # else every batch has one size

        @tf.autograph.experimental.do_not_convert
        def augment(place: Place, element: Any) -> Any:
            self._check_values(element)
            key = draws.fold_in(draws.as_key(seed), place.epoch)
            run = functools.partial(self._augment, key=key, first=place.first)
            return at_full_size(run, place, element) if fill else run(element)

        in_order = None if num_parallel_calls is None else True  # without workers `map` warns of the argument
        return placed(dataset, epoch, seed, batched).map(augment, num_parallel_calls, deterministic=in_order)

    def on_arrays(self, inputs: Any, seed: Any = None) -> Any:
        """Augments NumPy arrays and returns NumPy arrays, one image after the other or in batches, at the least cost.

        For loops, `keras.utils.PyDataset` and data loaders that fetch single images. It does what a call does from the
        same key, but for rounding, at half the price: of one image, most is spent on the way to the pixels. The first
        eight structures and sizes are compiled, which takes some seconds each; whatever comes in more sizes, resize it
        before, since all further ones take the way of a call.

        Args:
            inputs: whatever the pipeline can be called with, as arrays.
            seed: (2,) int key; None takes the next one.

        Returns:
            The structure of `inputs`, arrays.

        Example:
            >>> augment = kas.Pipeline([kas.layers.RandomFlip(), kas.layers.RandomRotation(0.1)], seed=7)
            >>> image, mask = np.zeros((32, 32, 3), "uint8"), np.ones((32, 32), "uint8")
            >>> augmented = augment.on_arrays({"images": image, "segmentation_masks": mask})
            >>> type(augmented["images"]).__name__, augmented["segmentation_masks"].shape
            ('ndarray', (32, 32))
        """
        return self._array_calls(inputs, seed)

    @functools.cached_property
    def _array_calls(self) -> ArrayCalls:
        return ArrayCalls(self)

    @classmethod
    def from_keras(cls, stock: Any, **kwargs: Any) -> Pipeline:
        """Makes a pipeline of stock Keras layers.

        A layer that we have too is translated with its arguments, and so fuses; its numbers are drawn by our rules, and
        its dtype in is its dtype out. Any other layer stays as it is, in place, and `plan()` says so.

        Args:
            stock: a Keras layer, a list of them, a `keras.Sequential` or a `keras.layers.Pipeline`.
            **kwargs: as for `Pipeline`. Without them, seed, data format and box format are those of the stock layers,
                as far as they have them and agree.

        Example:
            >>> stock = keras.Sequential([keras.layers.RandomRotation(0.1), keras.layers.RandomZoom(0.2)])
            >>> print(kas.Pipeline.from_keras(stock).plan())
            1. resample: RandomRotation + RandomZoom
        """
        pipeline = cls(translate(stock), **kwargs)
        for layer in pipeline.layers:
            if isinstance(layer, StockLayer) and layer.layout is None:
                layer.data_format = pipeline.data_format  # a layer that isn't told sees images as the user has them
        return pipeline

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "jit_compile": self.jit_compile, "volumes": self.volumes}


def _name(layer: AugmentationLayer) -> str:
    """What a plan calls a layer: a stock one by its own class."""
    return type(layer.layer if isinstance(layer, StockLayer) else layer).__name__.lstrip("_")
