"""The model that learns from labeled and unlabeled rows in one `fit`."""

from __future__ import annotations

import inspect
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.consistency import replicas
from keras_aug_ssl.consistency.batches import (
    Batch,
    Found,
    Seen,
    as_batch,
    concatenated,
    random_states,
    shifted_seeds,
    split,
    without_spoiled,
)
from keras_aug_ssl.consistency.labelling import Guess, Labeller, probabilities_of
from keras_aug_ssl.consistency.losses import ConsistencyLoss
from keras_aug_ssl.consistency.memory import Average, Memory
from keras_aug_ssl.consistency.selection import as_selector
from keras_aug_ssl.consistency.views import Views
from keras_aug_ssl.consistency.watching import Watch, Watching, first_of
from keras_aug_ssl.meaning import calling, reading
from keras_aug_ssl.meaning.heads import BINARY, CLASSES, LABELS, NUMBERS, Head
from keras_aug_ssl.meaning.labels import decisions_in_graph, targets
from keras_aug_ssl.meaning.wrapping import Wrapper
from keras_aug_ssl.rules.base import check_prior


@keras.saving.register_keras_serializable(package="keras_aug_ssl")
class ConsistencyModel(Wrapper):
    """A model that learns from unlabeled rows too, by answering alike for views of one row.

    In each step the labeller is asked about the unlabeled rows of the batch, the selector weighs its answers, and the
    network is held to them on another view of the same rows. `FixMatch` and the other recipes are settings of this.

    `compile` it like the wrapped model and `fit` it on the stream of `kas.data.labeled_unlabeled`. `evaluate`,
    `predict`, validation, `save` and `export` are the wrapped model's, whose weights it shares. `save_weights`, and so
    `keras.callbacks.BackupAndRestore`, also keeps what the method remembers: running averages, the average of the
    weights, the number of steps. With `kas.data.EpochCounter` a resumed training goes on to the same bits.

    `History` gets `mask_rate`, the mean weight of the unlabeled rows; `unlabeled_loss`; `pseudo_accuracy`, the share of
    right labels among the selected rows, where the stream has an `oracle`; and, for at most 20 classes and a rule whose
    level moves, `threshold_0`, `threshold_1`, ..., the confidence from which on a row of each class is taken.

    BatchNormalization. All views pass the network as one batch, so that they share its statistics, as in FixMatch.
    `joint=False` gives each view a pass of its own; only the labeled one moves the running averages then, which are
    those of the labeled rows.

    Several replicas (`MirroredStrategy`) keep one set of running averages, those of the whole batch.

    Args:
        model: the model to train, with one output of classes (logits or probabilities), yes or no, several labels, or,
            where labels aren't selected, numbers.
        labeller: who labels the unlabeled rows; None asks the current weights and takes the most probable class.
        selector: which of them count: a rule of `kas.rules`, a function of probabilities, a `Selector` for more say, or
            None for all.
        views: what the network sees; None is `Views()`.
        loss: on the unlabeled rows; None is `ConsistencyLoss()`.
        joint: all views in one pass.
        prior: (K,) share of each class in the pool, for rules that know shares and for the alignment; None takes the
            papers' assumptions, see there.
        seed: of the views.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> x, y, pool = np.eye(4, dtype="float32"), np.arange(4), np.tile(np.eye(4, dtype="float32"), (8, 1))
        >>> def noise(x, seed):
        ...     return x + 0.1 * tf.random.stateless_normal(tf.shape(x), seed)
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4)])
        >>> views = kas.consistency.Views(weak=noise, strong=noise)
        >>> ssl = kas.ConsistencyModel(model, selector=kas.rules.FreeThreshold(), views=views)
        >>> ssl.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        >>> history = ssl.fit(kas.data.labeled_unlabeled((x, y), pool, batch_size=4, ratio=2), epochs=2, verbose=0)
        >>> sorted(history.history)[:3]
        ['loss', 'mask_rate', 'threshold_0']
    """

    def __init__(
        self,
        model: keras.Model,
        labeller: Labeller | None = None,
        selector: Any = None,
        views: Views | None = None,
        loss: ConsistencyLoss | None = None,
        *,
        joint: bool = True,
        prior: Any = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(model, **kwargs)
        owner = "ConsistencyModel"
        kinds = {"labeller": (labeller, Labeller), "views": (views, Views), "loss": (loss, ConsistencyLoss)}
        for name, (part, kind) in kinds.items():
            if part is not None and not isinstance(part, kind):
                checks.fail(owner, name, f"a {kind.__name__}", type(part).__name__, error=TypeError)
        self.labeller = Labeller(temperature=0.0) if labeller is None else labeller
        self.selector = as_selector(selector)
        self.views = Views() if views is None else views
        self.consistency = ConsistencyLoss() if loss is None else loss
        rule = self.selector.rule
        if rule is not None and rule.spreads and self.labeller.views < 2:
            expected = "one of several views, Labeller(views=2), for a rule that measures how far they spread"
            checks.fail(owner, "labeller", expected, self.labeller.views)
        self.joint = bool(joint)
        self.prior = prior
        self.seed = checks.integer(owner, "seed", seed)
        self._memory: Any = None  # until the number of classes is known
        self._average: Any = None
        self._watch: Any = None

    # --- the wrapped model --------------------------------------------------------------------------------------------

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compiles the wrapper and, with the same optimizer, loss and metrics, the wrapped model."""
        super().compile(*args, **kwargs)
        outputs = getattr(self.model, "outputs", None)
        if self.model.built and outputs:  # others show in `fit` how many they have
            self._remember(int(outputs[0].shape[-1]))

    def save_own_variables(self, store: Any) -> None:
        """Adds the random states of the wrapped model, without which a resumed training would drop other units."""
        super().save_own_variables(store)
        for number, state in enumerate(random_states(self.model)):
            store[f"random_{number}"] = state

    def load_own_variables(self, store: Any) -> None:
        """Undoes `save_own_variables`."""
        super().load_own_variables({name: store[name] for name in store.keys() if not name.startswith("random_")})
        for number, state in enumerate(random_states(self.model)):
            state.assign(store[f"random_{number}"])

    def load_weights(self, filepath: Any, **kwargs: Any) -> None:
        """Loads what `save_weights` saved: weights, optimizer, and all that the method remembers."""
        if self.optimizer is not None and not self.optimizer.built:
            self.optimizer.build(self.trainable_variables)
        super().load_weights(filepath, **kwargs)

    def teacher_weights(self) -> list[Any]:
        """The averaged weights, in the order of `model.get_weights()`, for `model.set_weights(...)`.

        Raises:
            ValueError: when the labeller keeps no average, or before `compile`.
        """
        if self._average is None:
            expected = "one that keeps an average, Labeller(decay=0.999), in a compiled and built model"
            checks.fail("teacher_weights", "labeller", expected, self.labeller.decay)
        averages = {id(source): value.numpy() for source, value in self._average.mapping()}
        return [averages.get(id(weight), weight.numpy()) for weight in self.model.weights]

    # --- training -----------------------------------------------------------------------------------------------------

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Trains like `keras.Model.fit`, on a stream of `((x, y), x_unlabeled)`: see `kas.data.labeled_unlabeled`."""
        given = inspect.signature(keras.Model.fit).bind(self, x, *args, **kwargs).arguments
        for name in ("y", "sample_weight", "class_weight"):
            if given.get(name) is not None:
                checks.fail(
                    "ConsistencyModel.fit", name, "None", type(given[name]).__name__,
                    "Labels and weights are in the stream: kas.data.labeled_unlabeled((x, y, sample_weight), pool).",
                )  # fmt: skip
        self._build_for(x)
        given.setdefault("shuffle", False)  # the stream is; Keras warns of its own default
        callbacks = given.pop("callbacks", None)
        del given["self"]
        return super().fit(**given, callbacks=first_of(Watching(self), callbacks))

    def train_step(self, data: Any) -> dict[str, Any]:
        """One batch: views, labels, selection and both losses."""
        batch, finite = without_spoiled(as_batch(data))
        step = self._memory.read("step")
        key = draws.fold_in(draws.fold_in(draws.as_key(self.seed), step), replicas.rank())
        with tf.GradientTape() as tape:
            found = self.views.find(self, batch, key)
            unlabeled_loss, loss = self._loss(found, step)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [variable.value for variable in self.trainable_weights])
        self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
        if self._average is not None:
            self._average.follow(step)
        self._memory.write("step", step + 1)
        size = tf.shape(tf.nest.flatten(batch.x)[0])[0]
        for metric in self.metrics:
            if metric.name == "loss":
                metric.update_state(loss * replicas.number(), sample_weight=size)
        self._watch.count_spoiled(finite)
        unlabeled_loss *= replicas.number()
        self._watch.update(self.head, batch, found, unlabeled_loss, lambda x: self(x, training=False))
        return self.compute_metrics(batch.x, batch.y, found.predictions, sample_weight=batch.weight)

    def _loss(self, found: Found, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss on unlabeled rows, and the whole loss."""
        lesson = found.guess if found.lesson is None else found.lesson
        unlabeled = self.consistency.unlabeled(self.head, lesson, found.student)
        loss = found.supervised + self.consistency.factor(step) * unlabeled
        for number, term in enumerate(self.consistency.terms):
            self._needs_classes(type(term).__name__)
            averages = self._memory.blend(f"term{number}", term.batch_averages(found.guess), term.momentum)
            loss += term.weight * term.value(self.head, lesson, found.student, averages)
        return unlabeled, loss

    # --- what views and labels are made with --------------------------------------------------------------------------

    def passes(self, parts: list[Any], y: Any) -> list[Seen]:
        """What the network makes of several inputs in training mode, the labeled ones first.

        Args:
            parts: inputs of the same shape but for the number of rows.
            y: the labels of the first.
        """
        if self.joint and len(parts) > 1:
            output = self(concatenated(parts), training=True)
            scores = self.scores(output, y)
            # Slices have lost the logits that Keras's losses look for on probabilities.
            hidden = self.head.logits or self.head.kind == NUMBERS or self.head.activation is None
            outputs = split(output, parts) if hidden else [self.head.outputs(part) for part in split(scores, parts)]
            return [Seen(*pair) for pair in zip(outputs, split(scores, parts), strict=True)]
        output = self(parts[0], training=True)
        seen = [Seen(output, self.scores(output, y))]
        for number, part in enumerate(parts[1:], 1):
            output = self.aside(part, number)
            seen.append(Seen(output, self.head.scores(output)))
        return seen

    def aside(self, x: Any, number: int, weights: Any = ()) -> Any:
        """The outputs in training mode of a pass that leaves no trace: no running averages, no random state.

        Args:
            x: inputs.
            number: of the pass in this step, >= 1, so that each has a dropout of its own.
            weights: pairs of a variable and the value in its place.
        """
        with keras.StatelessScope(state_mapping=[*shifted_seeds(self.model, number), *weights]):
            return self(x, training=True)

    def taught(self, parts: list[Any]) -> list[tf.Tensor]:
        """The logits of the averaged weights, all parts in one pass."""
        output = self.aside(concatenated(parts), len(parts) + 1, self._average.mapping())
        return split(self.head.scores(tf.stop_gradient(output)), parts)

    def guess(self, batch: Batch, labeled: Seen | None, answers: list[tf.Tensor]) -> Guess:
        """Labels and weights of the unlabeled rows.

        Args:
            batch: what the step got.
            labeled: what the network made of the labeled rows; None where it hasn't seen them yet.
            answers: logits (N, K) of each weak view.
        """
        head, labeller = self.head, self.labeller
        found = labeller.ask(head, answers, batch.oracle)
        probabilities, judged = tf.reduce_mean(found, axis=0), None
        trusted = tf.stop_gradient(probabilities)
        known = None if labeled is None else tf.stop_gradient(probabilities_of(head, labeled.scores))
        if labeller.alignment is not None:
            self._needs_classes("Alignment")
            judged = self._aligned(trusted, known, batch.y)
            trusted = judged
            probabilities = judged if labeller.alignment.labels else probabilities
        if self.selector.relative:
            self._needs_classes("Selector(relative=True)")
            sure = replicas.total(tf.reduce_mean(tf.reduce_max(known, axis=-1))) / replicas.number()
            trusted = trusted / sure
        weights = self._weights(found, trusted)
        return Guess(tf.stop_gradient(probabilities), labeller.sharpen(head, probabilities), weights)

    def _weights(self, found: tf.Tensor, trusted: tf.Tensor) -> tf.Tensor:
        rule, head = self.selector.rule, self.head
        if head.kind == NUMBERS and rule is not None and not rule.reads_numbers:
            checks.fail(
                "ConsistencyModel", "selector", "None, or a rule that reads numbers, for a model of numbers", rule,
                "Numbers have no confidence: PiModel, MeanTeacher and VAT take all rows.",
            )  # fmt: skip
        uncertainty = None
        if rule is not None and rule.spreads:
            deviation = tf.math.reduce_std(found, axis=0)
            top = tf.one_hot(tf.argmax(trusted, axis=-1), trusted.shape[-1])
            uncertainty = tf.reduce_sum(top * deviation, axis=-1) if head.single else tf.reduce_max(deviation, axis=-1)
        prior = check_prior("ConsistencyModel", self.prior, head.num_classes) if head.single else None

        def blend(averages: Any) -> Any:
            return self._memory.blend("selector", averages, self.selector.momentum)

        return self.selector.weigh(trusted, uncertainty, head.kind == LABELS, prior, blend)

    def _aligned(self, probabilities: tf.Tensor, known: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        alignment: Any = self.labeller.alignment
        mix = alignment.batch_mix(probabilities, known, self.decided(y))
        mix = self._memory.blend("alignment", mix, alignment.momentum)
        return alignment.align(probabilities, mix, check_prior("ConsistencyModel", self.prior, self.head.num_classes))

    def decided(self, y: tf.Tensor) -> tf.Tensor:
        """(B, K) float32 labels as shares of classes, whatever form they come in; for yes or no (B, 2)."""
        if self.head.kind == CLASSES:
            return targets(self.head, y, sparse=False)
        if self.head.signed:
            return tf.one_hot(decisions_in_graph(self.head, tf.maximum(y, 0)), 2)
        yes = tf.reshape(tf.cast(y, tf.float32), [tf.shape(y)[0], -1])[:, -1:]
        return tf.concat([1.0 - yes, yes], axis=1)

    def supervised(self, batch: Batch, seen: Seen) -> tf.Tensor:
        """The compiled loss on labeled rows, regularisers included."""
        return self.compute_loss(batch.x, batch.y, seen.output, batch.weight, training=True)

    def scores(self, output: tf.Tensor, y: Any) -> tf.Tensor:
        """Logits of the first outputs of a step, from which it learns what they mean."""
        self.head: Head = reading.read("ConsistencyModel", self.model, output, self.loss, y)
        return self.head.scores(output)

    def _needs_classes(self, who: str) -> None:
        if self.head.kind not in (CLASSES, BINARY):
            advice = "PiModel, MeanTeacher and VAT need no classes."
            checks.fail("ConsistencyModel", "model", f"a model of classes for {who}", self.head.kind, advice)

    # --- state --------------------------------------------------------------------------------------------------------

    def _remember(self, units: int) -> None:
        """Makes the weights that hold what the method remembers, once the number of outputs is known."""
        if self._memory is not None:
            return
        classes = 2 if units == 1 else units
        kept: dict[str, Any] = {"step": np.zeros((), np.int64), "selector": self.selector.initial(classes)}
        if self.labeller.alignment is not None:
            kept["alignment"] = self.labeller.alignment.initial(classes)
        kept |= {f"term{number}": term.initial(classes) for number, term in enumerate(self.consistency.terms)}
        with self.distribute_strategy.scope():
            self._memory = Memory(self, kept)
            self._watch = Watch(self.model, classes)
            if self.labeller.decay is not None:
                self._average = Average(self, self.model, self.labeller.decay)

    def _build_for(self, stream: Any) -> None:
        """Checks the form of a stream, and builds what can't be built before its first batch is known."""
        if isinstance(stream, tf.data.Dataset):
            first: Any = as_batch(stream.element_spec)
        elif isinstance(stream, keras.utils.PyDataset):
            first = as_batch(stream[0])
        elif stream is None or hasattr(stream, "shape") or isinstance(stream, (tuple, list, dict)):
            first = as_batch(stream)
        else:
            first = None  # a generator: looking would use it up
        own = calling.route_of(self.model) is not calling.directly
        if own and isinstance(stream, tf.data.Dataset):  # one look at the data, before all runs in graphs
            first = as_batch(next(iter(stream)))
            calling.graph_route("ConsistencyModel", self.model, first.x, training=True)
        if self._memory is None:
            if first is None:
                advice = "Build it by calling it on a batch, then compile the wrapper."
                checks.fail("ConsistencyModel.fit", "model", "built, where x is a generator", self.model.name, advice)
            with self.distribute_strategy.scope():
                output = calling.first_output(self.model, tf.nest.map_structure(_rows_like, first.x))
            self.built = True
            self._remember(int(output.shape[-1]) if output.shape.rank == 2 else 1)

    def _symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Under a strategy Keras builds metrics and losses by a batch (x, y) beforehand: the labeled one."""
        if data_batch is not None and isinstance(data_batch[0], (tuple, list)):
            data_batch = tuple(data_batch[0])
        super()._symbolic_build(iterator=iterator, data_batch=data_batch)

    @property
    def steps_made(self) -> int:
        """Training steps so far, by which views are keyed and ramps rise."""
        return 0 if self._memory is None else int(self._memory.read("step"))

    def thresholds(self) -> np.ndarray | None:
        """(K,) least confidence at which a row of each class would be taken now; None where levels can't be told."""
        if self._memory is None or self.selector.relative:
            return None
        return self.selector.thresholds(self._memory.read("selector"), self._watch.classes, self.prior)

    def get_config(self) -> dict[str, Any]:
        """The wrapped model and the parts of the method."""
        config = {name: keras.saving.serialize_keras_object(getattr(self, own)) for name, own in _PARTS.items()}
        prior = None if self.prior is None else np.asarray(self.prior, float).tolist()
        return {**config, "joint": self.joint, "prior": prior, "seed": self.seed, "name": self.name}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> ConsistencyModel:
        """Undoes `get_config`."""
        restore = keras.saving.deserialize_keras_object
        return cls(**{**config, **{name: restore(config[name], custom_objects=custom_objects) for name in _PARTS}})


_PARTS = {"model": "model", "labeller": "labeller", "selector": "selector", "views": "views", "loss": "consistency"}


def _rows_like(part: Any) -> Any:
    """A few rows of zeros in the shape of a batch, or its own first ones."""
    if isinstance(part, tf.TensorSpec):
        return tf.zeros([calling.FEW, *(1 if size is None else size for size in part.shape[1:])], part.dtype)
    return part[: calling.FEW]
