"""The layer every augmentation is: it draws parameters; what is drawn is executed once for a whole run of layers.

A subclass says what to draw (`draw`), what leaves an image alone (`keep`), and belongs to a family (`GeometricLayer`,
`ColorLayer`, ...) whose `run` executes a whole run of neighbours of that family in one go.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import backend, checks, draws
from keras_aug_ssl.kernels import boxes as box_kernels
from keras_aug_ssl.layers.engine import planning, volumes
from keras_aug_ssl.layers.engine.annotations import check_batch
from keras_aug_ssl.layers.engine.batch import Batch, Spec, Written
from keras_aug_ssl.layers.engine.calls import Keys, augments_unasked
from keras_aug_ssl.layers.engine.compiling import Graph, graphs_of
from keras_aug_ssl.layers.engine.streams import images_of
from keras_aug_ssl.layers.engine.structure import (
    Layout,
    check_arrays,
    holds_arrays,
    pack,
    refuse_places,
    to_tensors,
    unpack,
    widths,
)

Parameters = dict[str, Any]
Finish = Callable[[tf.Tensor], tf.Tensor]


def execute(steps: Sequence[tuple[AugmentationLayer, Parameters]], batch: Batch, jit: bool) -> Batch:
    """Executes layers with their parameters, neighbours that fuse in one go, and returns images in their own dtype.

    Between runs images are float32. The last run that computes new values rounds them as it writes them, and what only
    copies or paints pixels behind it works on the rounded ones: the same values, in a quarter of the memory for uint8.
    """
    runs = planning.runs([layer for layer, _ in steps])
    computing = [place for place, run in enumerate(runs) if run.family.computes]
    for place, run in enumerate(runs):
        last = not computing or place >= computing[-1]
        finish = Written(batch.dtype if last else tf.float32)
        batch = volumes.run(run.family, [steps[i] for i in run.indices], batch, finish, jit)
    return batch


def _within(images: tf.Tensor, low: float, high: float) -> tf.Tensor:
    margin = 1e-3 * (high - low)  # earlier float arithmetic may overshoot by rounding
    values = tf.cast(images, tf.float32)
    values = tf.where(tf.math.is_finite(values), values, low)  # a broken pixel says nothing about the range
    return ~((tf.reduce_min(values) < low - margin) | (tf.reduce_max(values) > high + margin))


def _blank(value: Any) -> Any:
    """One row of zeros in place of none."""
    empty = isinstance(value, tf.Tensor) and value.shape[:1] == [0]
    return tf.zeros([1, *value.shape[1:]], value.dtype) if empty else value


def _missing(cls: type, name: str, example: str) -> NotImplementedError:
    return NotImplementedError(
        f"{cls.__name__} defines no `{name}`, which every layer of one's own needs, for example: {example}. "
        "The docstring of kas.layers.AugmentationLayer has a whole layer."
    )


class AugmentationLayer(keras.layers.Layer):
    """Base of all augmentation layers.

    A layer of one's own says three things, and is registered, so that a model that holds it can be saved:

    * `draw(spec, key)` draws parameters, a dict of tensors with one row an image, with `kas.draws` and nothing else.
    * `keep(mask, parameters)` makes them those of the identity where `mask` is False.
    * `run(steps, batch, finish, jit)`, a class method, executes a run of neighbours of its family in one go. A layer
      that isn't of a family of ours (`RandomRotation`, `RandomBrightness` and `RandomGamma` show the shape of a matrix,
      a color change and a curve) defines its own; alone, `steps` is itself and its parameters.

    `sample`, `apply`, `tf.data`, masks and boxes, both data formats, dtypes and saving are the base's;
    `kas.testing.check_layer` says whether the layer keeps the laws.

    In general they differ from Keras's image layers (3.15) in this: every image draws for itself, by rules of our own,
    so a seed gives other numbers; what comes in as integers leaves as integers, rounded, where Keras gives floats;
    images outside `value_range` are an error (in a graph whole numbers only: floats are clipped there); boxes and
    keypoints have the batch axis of the images; a wrong kind of argument is a `TypeError`, and errors are worded alike.
    A subclass says what to draw and what to run; Keras's hooks (`get_random_transformation`, `transform_images`,
    `transform_bounding_boxes`, ...) don't exist.

    Boxes are a dict with `"boxes"` (B, N, 4) and `"labels"` (B, N), one number a box (KerasCV's `"classes"` is read
    too); other entries come through. A box that has left has the label -1 and is -1 throughout: unsigned labels leave
    as int32 or int64, which hold it. Ragged boxes are filled up so.

    Args:
        seed: int; two layers with the same seed draw the same sequence. None draws one.
        data_format: `"channels_last"` or `"channels_first"`; None takes Keras's setting.
        bounding_box_format: how boxes are written, one of Keras's formats; needed when boxes come.
        **kwargs: as for any Keras layer (`name`, ...).

    Example:
        >>> @keras.saving.register_keras_serializable(package="mine")
        ... class Dim(kas.layers.AugmentationLayer):
        ...     pointwise = True  # each pixel by itself: masks and boxes stay as they are
        ...     def draw(self, spec, key):
        ...         (unit,) = kas.draws.uniforms(key, spec.batch_size, 1, spec.first)
        ...         return {"factor": 1.0 - 0.5 * unit}
        ...     def keep(self, mask, parameters):
        ...         return {"factor": tf.where(mask, parameters["factor"], 1.0)}
        ...     @classmethod
        ...     def run(cls, steps, batch, finish, jit):
        ...         images = tf.cast(batch.images, tf.float32)
        ...         for _, parameters in steps:
        ...             images *= parameters["factor"][:, None, None, None]
        ...         return batch.replace(images=finish(images))
        >>> "same key, same output" in kas.testing.check_layer(Dim)
        True
    """

    what = ""  # what the family does in one pass over the pixels, for `Pipeline.plan`
    jit_compile: bool | str = "auto"
    value_range: tuple[float, float] | None = None  # set by layers whose effect depends on what black and white are
    pointwise = False  # True: every pixel changes by itself, so mirroring before or after makes no difference
    active_at_inference = False  # True: it changes images with `training=False` too, as a crop must
    computes = True  # False: it only copies or paints pixels, so that rounding before or after makes no difference
    independent = True  # False: an image's result depends on the rest of its batch, as when images are mixed
    any_rank = False  # True: what is no image is taken too, (B, ...) of any rank
    mix: tuple[str, ...] = ()  # names of inputs besides Keras's that are taken
    rescales = False  # True: what it returns need not be in the value range its input was in
    moves = False  # True: what has a place in the image is elsewhere behind it, so masks and boxes must come along
    mirrors = False  # True: it only mirrors, which commutes with every pointwise layer
    random = True  # False: it draws nothing, so no seed is missed
    slices = "batch"  # or "channels", "volumes": what the slices of a volume are for `run`; see `engine/volumes.py`
    volumes = False  # True: what is of rank 4 is one volume
    any_layout = False  # True: what it does is the same wherever the channels are
    times_changed = 0  # how often an attribute was set: what was traced before no longer holds

    def __init__(
        self,
        seed: int | None = None,
        data_format: str | None = None,
        bounding_box_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.seed = None if seed is None else checks.integer(owner, "seed", seed)
        formats = ("channels_last", "channels_first")
        self.data_format = checks.one_of(owner, "data_format", data_format or keras.config.image_data_format(), formats)
        if bounding_box_format is not None:
            checks.one_of(owner, "bounding_box_format", bounding_box_format, box_kernels.FORMATS)
        self.bounding_box_format = bounding_box_format
        self.seed_generator = Keys(self.seed)
        self.built = True
        # Images, labels and masks keep their dtype: nothing is cast on the way in, whatever the model's policy is.
        self.autocast = False
        self._convert_input_args = False
        self._allow_non_tensor_positional_args = True

    # --- what a subclass says -------------------------------------------------------------------------------------

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        """Draws parameters, leading axis = batch, as a pure function of the (2,) uint64 `key` and `spec`."""
        raise _missing(type(self), "draw", 'return {"factor": ...}, drawn with kas.draws')

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        """`parameters` where the (B,) booleans are true, those of the identity elsewhere."""
        raise _missing(type(self), "keep", 'return {"factor": tf.where(mask, parameters["factor"], 1.0)}')

    def output_size(self, size: tuple[Any, Any]) -> tuple[Any, Any]:
        """(height, width) of the output for an input of `size`."""
        return size

    def output_spec(self, spec: Spec, parameters: Parameters | None = None) -> Spec:
        """What `spec` is behind the layer, where these parameters were drawn."""
        return spec.resized(self.output_size(spec.size))

    def at_inference(self, spec: Spec) -> Parameters:
        """Parameters to use with `training=False`: the identity's, unless the layer is `active_at_inference`."""
        return self.keep(tf.zeros([spec.batch_size], tf.bool), self.draw(spec, draws.as_key(0)))

    def observe(self, spec: Spec) -> None:
        """Called once for each batch before `draw`, by a layer that keeps count of what it sees; not by `sample`."""

    def parts(self, parameters: Parameters) -> list[tuple[AugmentationLayer, Parameters]]:
        """The layers to execute, in order, with their share of `parameters`: itself, unless it holds others."""
        return [(self, parameters)]

    def fuses_with(self, other: AugmentationLayer) -> bool:
        """Whether `other`, which follows, can be executed in one go with this layer."""
        return False

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        """Executes neighbours of one family that fuse.

        Args:
            steps: `(layer, parameters)` each.
            batch: what to work on.
            finish: what the images written must go through, a `Written`: they become float32, or rounded in their own
                dtype.
            jit: whether to compile.
        """
        raise _missing(
            cls, "run", "return batch.replace(images=finish(...)), or extend a layer of ours, whose run does"
        )

    # --- what a user calls ----------------------------------------------------------------------------------------

    @tf.autograph.experimental.do_not_convert
    def __call__(self, inputs: Any, *more: Any, **keywords: Any) -> Any:
        """`call`; and `dataset.map(layer)`, which hands over the parts of an (x, y) element one by one."""
        if more and holds_arrays(more[0]):
            inputs, more = (inputs, *more), ()
        keywords |= dict(zip(("training", "seed"), more, strict=False))
        # Keras refuses arrays next to tensors in one structure.
        return super().__call__(backend.of_one_kind(to_tensors(inputs)), *more[2:], **keywords)

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: bool | None = None, seed: Any = None) -> Any:
        """Augments `inputs`.

        Args:
            inputs: images (B, H, W, C) or (H, W, C), or volumes (B, D, H, W, C), all of whose slices get one draw; or
                (images, labels[, sample_weight]); or a dict with Keras's keys.
            training: False returns the inputs as they are (a cropping layer takes the middle). None, the default, is
                True for a layer called by itself or in a model of augmentation only. In a model with weights it is True
                in a `train_step`, so that `fit` augments even if the model's `call` takes no `training`, and False
                elsewhere, as for dropout: an exported model doesn't augment what it serves. (Stock Keras layers do.)
                A training loop of one's own passes training=True; without, a warning says that nothing is augmented.
            seed: (2,) int key; given, the call is a pure function of the inputs and the key.

        Returns:
            The structure of `inputs`, every part in its dtype (unsigned box labels in a signed one). Outside `tf.data`
            it holds tensors of the backend that Keras runs on.
        """
        if not (augments_unasked(self) if training is None else training):
            return backend.to_native(self._infer(inputs))
        self._check_values(inputs)
        key = self._next_key() if seed is None else draws.as_key(seed)
        return self._in_graph(self._augment, inputs, key, 0)

    @tf.autograph.experimental.do_not_convert
    def sample(self, inputs: Any, seed: Any, first: Any = 0) -> Parameters:
        """Draws the parameters for `inputs` without applying them.

        Args:
            inputs: what the layer would be called with, or a `Spec`.
            seed: (2,) int key, or one int.
            first: position of the first image in the stream of data.

        Returns:
            A dict of tensors, leading axis = batch, to print, to plot, or to hand to `apply`.
        """
        spec = inputs if isinstance(inputs, Spec) else self._unpack(inputs)[0].spec(first)
        return self.draw(spec, draws.as_key(seed))

    @tf.autograph.experimental.do_not_convert
    def apply(self, inputs: Any, parameters: Parameters) -> Any:
        """Applies drawn parameters: a pure function of its arguments."""
        self._check_values(inputs)
        return self._in_graph(self._apply, inputs, parameters)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of what comes out, in the structure of `input_shape`: of images, or of all parts of an input."""
        inputs = keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape, "float32"), input_shape)
        return keras.tree.map_structure(lambda output: output.shape, self.compute_output_spec(inputs))

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        # Traced: dtypes and structures are kept.
        if not backend.IS_TENSORFLOW:
            return backend.output_spec(self.call, *args, **kwargs)
        return keras.Operation.compute_output_spec(self, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        own = {"seed": self.seed, "data_format": self.data_format, "bounding_box_format": self.bounding_box_format}
        return {**super().get_config(), **own}

    # --- how it comes about ---------------------------------------------------------------------------------------

    @property
    def layout(self) -> str | None:
        """The data format that the layer was made for; None where it takes either."""
        return None if self.any_layout else self.data_format

    def _next_key(self) -> tf.Tensor:
        """The next key of the layer's own sequence; the replicas of a distributed step draw for themselves."""
        key, replica = draws.as_key(self.seed_generator.next()), tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return key
        return draws.fold_in(key, replica.replica_id_in_sync_group)

    def _augment(self, inputs: Any, key: tf.Tensor, first: Any) -> Any:
        batch, layout = self._unpack(inputs)
        spec = batch.spec(first)
        self.observe(spec)
        return self._execute(batch, layout, self.draw(spec, key))

    def _apply(self, inputs: Any, parameters: Parameters) -> Any:
        batch, layout = self._unpack(inputs)
        return self._execute(batch, layout, parameters)

    def _infer(self, inputs: Any) -> Any:
        if not self.active_at_inference:
            return inputs
        batch, layout = self._unpack(inputs)
        steps = [step for step in self.parts(self.at_inference(batch.spec())) if step[0].active_at_inference]
        return pack(execute(steps, batch, self._jit(batch)), layout)

    def _execute(self, batch: Batch, layout: Layout, parameters: Parameters) -> Any:
        return pack(execute(self.parts(parameters), batch, self._jit(batch)), layout)

    def _unpack(self, inputs: Any) -> tuple[Batch, Layout]:
        owner = type(self).__name__
        kind = (self.data_format, self.bounding_box_format, self.mix, self.any_rank, self.volumes)
        batch, layout = unpack(inputs, owner, *kind)
        if self.moves and layout.kind is not dict:
            refuse_places(batch.labels, batch.images, owner)
        if batch.boxes is not None and not self.pointwise:  # what leaves them alone need not know whose they are
            check_batch(batch.boxes, batch.images, owner)
        if not (self.independent or layout.batched):
            checks.fail(
                owner, "inputs", "a batch of examples", "a single image", "Batch the dataset before it is mixed."
            )
        if batch.images.shape[0] == 0 and not tf.executing_eagerly():
            # TensorFlow's graph optimizer divides by the number of images where it knows it: Python would end.
            rest = batch.images.shape[1:]
            batch = batch.replace(images=tf.compat.v1.placeholder_with_default(batch.images, [None, *rest]))
        return batch, layout

    def _value_ranges(self) -> set[tuple[float, float]]:
        return set() if self.value_range is None else {self.value_range}

    def _check_values(self, inputs: Any) -> None:
        """Images that leave `value_range` would be clipped without a word: found by dtype or by value.

        In a graph floats are clipped all the same: a look at each costs as much as a layer, and one broken value in one
        image must not end a data set.
        """
        ranges = self._value_ranges()
        if not ranges:
            return
        owner, images = type(self).__name__, self._unpack(inputs)[0].images
        if images.dtype == tf.uint8:
            ranges = {(low, high) for low, high in ranges if low > 0.0 or high < 255.0}
        advice = "Say the range the images have in `value_range`, or rescale them."
        for low, high in ranges:
            expected = f"within value_range=({low:g}, {high:g})"
            if images.dtype == tf.uint8 and high <= 1.0:
                checks.fail(owner, "inputs", expected, "uint8 images", advice)
            if not (tf.executing_eagerly() or images.dtype.is_integer):
                continue
            inside, seen = _within(images, low, high), [tf.reduce_min(images), tf.reduce_max(images)]
            if not tf.executing_eagerly():
                words = f"{owner}: `inputs` must be {expected}. {advice} Received from, to:"
                tf.debugging.Assert(inside, [words, *seen])  # XLA leaves it out
            elif not inside:
                checks.fail(owner, "inputs", expected, tuple(float(end) for end in seen), advice)

    def _jit(self, batch: Batch) -> bool:
        """Compile inside a graph whose images have a static size; eagerly, one operation follows the other."""
        if self.jit_compile == "auto":
            return not tf.executing_eagerly() and batch.images.shape[1:].is_fully_defined()
        return bool(self.jit_compile)

    def _in_graph(self, function: Callable[..., Any], inputs: Any, *arguments: Any) -> Any:
        """Calls `function` inside a graph: the caller's when there is one, else one of the layer's own."""
        if not tf.executing_eagerly():
            return function(inputs, *arguments)
        arguments = tf.nest.map_structure(tf.convert_to_tensor, arguments)
        inputs = to_tensors(inputs)
        check_arrays(inputs, type(self).__name__)
        inputs = backend.to_tensorflow(inputs)
        if images_of(inputs).shape[:1] == [0]:  # some of what XLA compiles can't be compiled for none: of a blank one
            result = self._in_graph(function, *tf.nest.map_structure(_blank, (inputs, *arguments)))
            return tf.nest.map_structure(lambda part: part if part is None else part[:0], result)
        # One graph a rank and number of channels: retraced for others, it would know neither any more.
        images = images_of(inputs)
        axes = 3 if self.volumes or images.shape.rank == 5 else 2  # of space
        axis = -1 if self.data_format == "channels_last" or images.shape.rank <= axes else -1 - axes
        ranks = [None if leaf is None else leaf.shape.rank for leaf in tf.nest.flatten(inputs)]
        key = (function.__name__, *widths(inputs, axis), *ranks)
        graphs = graphs_of(self)
        if key not in graphs:
            graphs[key] = Graph()
        return backend.to_native(graphs[key](function, inputs, *arguments))

    @functools.cached_property
    def own_graphs(self) -> dict[Any, dict[Any, Graph]]:
        """Those of a layer that shares none, by its `changes`; see `graphs_of`."""
        return {}

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if not name.startswith("_") and name != "built":
            object.__setattr__(self, "times_changed", self.times_changed + 1)
