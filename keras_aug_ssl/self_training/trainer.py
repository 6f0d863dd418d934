"""Rounds of training with weights made anew: teachers label, students learn, and become the next teachers."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_aug_ssl import checks
from keras_aug_ssl.meaning import calling
from keras_aug_ssl.meaning.heads import CLASSES, LABELS, NUMBERS
from keras_aug_ssl.meaning.labels import encode
from keras_aug_ssl.rules import Decided, LowVariance, Rule, TopFraction
from keras_aug_ssl.rules.choice import as_choice
from keras_aug_ssl.self_training.books.backup import ANEW, Backup, State, numbered, unnumbered
from keras_aug_ssl.self_training.books.books import Books
from keras_aug_ssl.self_training.books.identity import identity_of_model
from keras_aug_ssl.self_training.feeding.augmenting import parameters_of
from keras_aug_ssl.self_training.feeding.feeder import Board, Published, TrainingSet
from keras_aug_ssl.self_training.feeding.labeled import Labeled
from keras_aug_ssl.self_training.feeding.training_set import make_training_set
from keras_aug_ssl.self_training.labelling.labeller import Labeller
from keras_aug_ssl.self_training.report import Outcome
from keras_aug_ssl.teaching.teachers import set_training_state, training_state

OWNER = "SelfTrainer"
DEFAULTS = {CLASSES: TopFraction(0.2, step=0.2), LABELS: Decided(), NUMBERS: LowVariance(0.2, step=0.2)}


class SelfTrainer(Outcome):
    """Trains a model on labeled rows, lets it label the pool, trains the next on both, and so on.

    Each round labels all rows anew, so early mistakes can be undone, and weights made anew forget them: Curriculum
    Labeling (arXiv 2001.06001) and, with `labels="soft"`, Noisy Student (arXiv 1911.04252). It
    costs `rounds` + 1 trainings; where one has to do, use the callback `SelfTraining`.

    With several ways to build a model, each round trains one of each, and the mean of what they say labels the pool for
    the next; how far they spread is the rows' uncertainty, as with `SelfTraining(teachers=...)`. To predict with all,
    average over `models_`.

    Args:
        build_model: returns a compiled model; called for every round, with its number, from 0, if it has an argument
            without a default. Seed its initial weights for runs that can be repeated. Or a list of such functions.
        select: a rule, or a function from (N, K) probabilities to (N,) weights. None is `TopFraction(0.2, step=0.2)`:
            everything after five rounds; `Decided()` for several labels, `LowVariance(0.2, step=0.2)` for numbers.
        rounds: labellings, each followed by a training; >= 0.
        reinitialize: True builds models for every round; False trains the first ones on.
        labels: `"hard"`, the most probable class, or `"soft"`, the probabilities.
        weight: of a pseudo-labeled row relative to a labeled one; a number > 0, or a function of the round.
        temperature: divides the logits before the rule sees them. None is 1; `"calibrated"` finds it on `holdout`.
        prior: (K,) share of each class in the pool; None estimates it after the first training, `"labeled"` takes the
            labeled rows' shares, as `SelfTraining` does.
        kind: "classes", "labels" or "numbers", where loss, last activation and labels leave it open what outputs are.
        holdout: `(x, y)` rows that are not trained on, as for `SelfTraining`.
        backup_dir: directory for the state after each training; `fit` called again after a crash continues there.

    Attributes, besides `SelfTraining`'s `transduction_`, `labeled_iter_`, `n_iter_` and `termination_condition_`:
        models_: list of the best model of each builder by validation; without validation data the last round's.
        model_: the best of them; without validation data the first.
        best_round_: the number of the round it was trained in; in round 0 on labeled rows only.
        scores_: list of what each training reached on the validation data, as `Model.evaluate` gives it: round after
            round, and in a round builder after builder.
        history_: list of each training's `History.history`, in the same order.

    Example:
        >>> import keras
        >>> import numpy as np
        >>> import keras_aug_ssl as kas
        >>> def build_model():
        ...     model = keras.Sequential([keras.layers.Dense(2, activation="softmax")])
        ...     model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        ...     return model
        >>> x, y = np.random.default_rng(0).normal(size=(20, 2)).astype("float32"), np.arange(20) % 2
        >>> trainer = kas.SelfTrainer(build_model, rounds=2).fit(x[:4], y[:4], x[4:], epochs=1, batch_size=4)
        >>> trainer.n_iter_, len(trainer.history_), trainer.model_.predict(x, verbose=0).shape
        (2, 3, (20, 2))
    """

    def __init__(
        self,
        build_model: Callable[..., keras.Model] | Sequence[Callable[..., keras.Model]],
        select: Rule | Callable[[np.ndarray], Any] | None = None,
        *,
        rounds: int = 5,
        reinitialize: bool = True,
        labels: str = "hard",
        weight: float | Callable[[int], float] = 1.0,
        temperature: float | str | None = None,
        prior: Any = None,
        kind: str | None = None,
        holdout: tuple[Any, Any] | None = None,
        backup_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        builders: Any = build_model if isinstance(build_model, (list, tuple)) else [build_model]
        self._builders: list[Callable[..., keras.Model]] = list(builders)
        if not self._builders or not all(map(callable, self._builders)):
            expected = "a function that returns a compiled model, or a list of such functions"
            checks.fail(OWNER, "build_model", expected, build_model, error=TypeError)
        self._choice = as_choice(
            OWNER, select, DEFAULTS, labels=labels, weight=weight, temperature=temperature, prior=prior, kind=kind
        )
        self._holdout = holdout
        self.rounds = checks.integer(OWNER, "rounds", rounds, 0)
        self.reinitialize = bool(reinitialize)
        self._backup = None if backup_dir is None else Backup(backup_dir, OWNER)

    def fit(
        self,
        x: Any,
        y: Any,
        pool: Any,
        *,
        epochs: int = 10,
        validation_data: Any = None,
        callbacks: Sequence[keras.callbacks.Callback] | Callable[[], Sequence[keras.callbacks.Callback]] | None = None,
        oracle: Any = None,
        verbose: int = 0,
        **feeding: Any,
    ) -> SelfTrainer:
        """Runs all rounds.

        Args:
            x: (N, ...) labeled inputs.
            y: their labels.
            pool: an `UnlabeledPool`, or what one is made of.
            epochs: of every training; callbacks see each begin with epoch 0.
            validation_data: chooses the best round: by accuracy if it is a metric, else by loss.
            callbacks: a list that serves all trainings, as those of Keras can that begin anew in `on_train_begin`, such
                as EarlyStopping; or a function that returns new ones for every training.
            oracle: true labels of the pool, to log how many pseudo-labels are right.
            verbose: as for `Model.fit`.
            **feeding: `batch_size`, `augment`, `augment_pseudo`, `labeled_fraction`, `steps`, `sample_weight`,
                `class_weight` and `seed`, as for `SelfTraining.training_set`.

        Returns:
            Itself.
        """
        epochs = checks.integer(OWNER, "epochs", epochs, 1)
        known = parameters_of(make_training_set)
        for name in feeding:
            if name not in known:
                raise TypeError(f"{OWNER}: fit takes no argument `{name}`. Besides its own it takes {list(known)[6:]}.")
        self._labeller = Labeller(OWNER, pool, self._choice, oracle, self._holdout)
        self._board = Board()
        self._feeder = make_training_set(OWNER, self._choice, self._labeller.pool, self._board, x, y, **feeding)
        self._run, count = _Run(), len(self._builders)
        models = [self._model(place, 0) for place in range(count)]
        self._use(models)
        state = None if self._backup is None else self._backup.begin(self._identity(models, epochs))
        if state is not None:
            models = self._resume(state, models)
        for number in range(self._run.finished, count * (self.rounds + 1)):
            round, place = divmod(number, count)
            if round and not place:
                self._label(models, verbose == 1)
            if round and self.reinitialize:
                models[place] = self._model(place, round)
            model = models[place]
            self._use([model])
            publisher = _Publisher(self._labeller, self._feeder, self._board, number * epochs)
            # A task that prepares its inputs in a fit of its own takes tf.data, and no PyDataset.
            own: dict[str, Any] = {"x": self._feeder}
            if calling.fits_itself(model):
                own = {"x": self._feeder.as_dataset(), "shuffle": False}
            history = model.fit(
                **own,
                epochs=epochs,
                callbacks=[publisher, *_listed(callbacks)],
                validation_data=validation_data,
                verbose=verbose,
            )
            self._run.add(place, model, _plain(history.history), validation_data)
            self.models_ = [
                models[each] if best.model is None else best.model for each, best in enumerate(self._run.bests)
            ]
            if self._backup is not None:
                self._save(self._backup, models if not self.reinitialize else models[: place + 1])
        self.models_ = [self._best(place, models[place]) for place in range(count)]
        if self._backup is not None:
            self._backup.clear()
        return self

    def __getattr__(self, name: str) -> Any:
        """Says, of what `fit` makes, that it has not been called."""
        made = ("_labeller", "_feeder", "_run", "models_")
        if "_run" not in vars(self) and (name in made or hasattr(type(self), name)):
            raise AttributeError(f"{OWNER}: nothing is known before `fit`. Call fit(x, y, pool) first.")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def model_(self) -> keras.Model:
        """The best of `models_`."""
        return self.models_[self._run.best_place]

    @property
    def history_(self) -> list[dict[str, list[float]]]:
        """What each training logged."""
        return self._run.histories

    @property
    def scores_(self) -> list[dict[str, float]]:
        """What each training reached on the validation data."""
        return self._run.scores

    @property
    def best_round_(self) -> int:
        """Number of the round in which `model_` was trained."""
        return self._run.bests[self._run.best_place].number // len(self._builders)

    def _use(self, models: list[keras.Model]) -> None:
        """Builds and checks models of one round, the first of which is read; and lets them label from now on."""
        self._labeller.use(models[0], self._feeder.labeled, self._feeder.batch_size, models)

    def _label(self, models: list[keras.Model], verbose: bool) -> None:
        """Lets the models of the last round label, unless a training of theirs diverged."""
        finished = self._run.finished
        for number in range(finished - len(models), finished):
            if not math.isfinite(self._run.histories[number].get("loss", [0.0])[-1]):
                checks.fail(
                    OWNER, "build_model", "a model whose loss stays finite in training", f"NaN in training {number}",
                    "Lower its learning rate. The best model before is in model_.",
                )  # fmt: skip
        self._use(models)
        for alarm in self._labeller.run_round(verbose=verbose):
            warnings.warn(str(alarm), stacklevel=3)

    def _best(self, place: int, last: keras.Model) -> keras.Model:
        """A builder's best model, with the weights it had then."""
        best = self._run.bests[place]
        if best.model is None:  # it was trained before an interruption
            round, newest = best.number // len(self._builders), self._run.finished // len(self._builders) - 1
            best.model = last if not self.reinitialize or round == newest else self._model(place, round)
            self._use([best.model])  # builds it
        best.model.set_weights(best.weights)  # trained on since, if it is the one model of all rounds
        return best.model

    def _model(self, place: int, round: int) -> keras.Model:
        build = self._builders[place]
        # An argument with a default means something else: a width, a rate.
        asks = any(
            each.default is each.empty and each.kind <= each.POSITIONAL_OR_KEYWORD
            for each in parameters_of(build).values()
        )
        model = build(round) if asks else build()
        if not isinstance(model, keras.Model):
            checks.fail(OWNER, "build_model", "a function that returns a compiled model", model, error=TypeError)
        return model

    def _labeled(self) -> Labeled:
        return self._feeder.labeled

    def _save(self, backup: Backup, models: list[keras.Model]) -> None:
        """Saves the books, the builders' best weights, and the models that the rest of the run needs."""
        books, run, arrays = self._labeller.books, self._run, self._labeller.books.arrays()
        for place, model in enumerate(models):
            arrays |= numbered(f"model {place}", training_state(model))
        for place, best in enumerate(run.bests):
            arrays |= numbered(f"best {place}", best.weights)
        bests = [best.number for best in run.bests]
        facts = books.numbers() | {"scores": run.scores, "histories": run.histories, "bests": bests}
        backup.save(run.finished, facts, arrays)

    def _identity(self, models: list[keras.Model], epochs: int) -> dict[str, str]:
        each = [identity_of_model(model) for model in models]
        own = {name: " ".join(found[name] for found in each) for name in each[0]}
        return own | self._labeller.identity(self._feeder, options=(epochs, self.reinitialize))

    def _resume(self, state: State, models: list[keras.Model]) -> list[keras.Model]:
        """Puts the books back and returns the models of an interrupted run as they were after its last training."""
        last, place = divmod(state.epoch - 1, len(models))
        if last > self.rounds:
            checks.fail(
                OWNER, "rounds", f"at least {last}, which the run in `backup_dir` has finished", self.rounds, ANEW
            )
        if self.reinitialize and last:
            models = [*(self._model(each, last) for each in range(place + 1)), *models[place + 1 :]]
        self._use(models)
        for each, model in enumerate(models[: place + 1] if self.reinitialize else models):
            set_training_state(model, unnumbered(f"model {each}", state.arrays))
        self._labeller.books = Books.restored(state.arrays, state.facts)
        bests = [
            _Best(number, unnumbered(f"best {each}", state.arrays)) for each, number in enumerate(state.facts["bests"])
        ]
        self._run = _Run(state.facts["histories"], state.facts["scores"], bests)
        return models


@dataclasses.dataclass
class _Best:
    """A builder's best training: its number, the weights then, and the model unless it was trained before a kill."""

    number: int
    weights: list[np.ndarray]
    model: keras.Model | None = None


@dataclasses.dataclass
class _Run:
    """What the finished trainings gave; a best one of each builder."""

    histories: list[dict[str, list[float]]] = dataclasses.field(default_factory=list)
    scores: list[dict[str, float]] = dataclasses.field(default_factory=list)
    bests: list[_Best] = dataclasses.field(default_factory=list)

    @property
    def finished(self) -> int:
        return len(self.histories)

    @property
    def best_place(self) -> int:
        """Which builder's best is the best of all; without validation data the first one's."""
        if not self.scores:
            return 0
        merits = [_merit(self.scores[best.number]) for best in self.bests]
        return merits.index(max(merits))

    def add(self, place: int, model: keras.Model, history: dict[str, list[float]], validation_data: Any) -> None:
        """Enters a builder's training; without validation data the last one is its best."""
        number, known = self.finished, place < len(self.bests)
        self.histories.append(history)
        if validation_data is not None:
            self.scores.append(_evaluate(model, validation_data))
            if known and not _merit(self.scores[-1]) > _merit(self.scores[self.bests[place].number]):
                return
        self.bests[place : place + 1] = [_Best(number, model.get_weights(), model)]


class _Publisher(keras.callbacks.Callback):
    """Shows the selected rows to the training set, the same in all epochs of a training, and logs them."""

    def __init__(self, labeller: Labeller, feeder: TrainingSet, board: Board, epochs_before: int) -> None:
        super().__init__()
        self._labeller, self._board, self._epochs_before = labeller, board, epochs_before
        self._encode = functools.partial(encode, labeller.outputs, like=feeder.labeled.y[:1])

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        # Callbacks count the epochs of each training from 0; order and augmentation go on from one to the next.
        self._board.current = Published(self._epochs_before + epoch, self._labeller.books.selected, self._encode)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if logs is not None:
            logs |= self._labeller.logs()


def _evaluate(model: keras.Model, data: Any) -> dict[str, float]:
    x, y, weight = keras.utils.unpack_x_y_sample_weight(data)
    return _plain(model.evaluate(x, y, sample_weight=weight, verbose=0, return_dict=True))


def _merit(score: dict[str, float]) -> float:
    """Accuracy where it is known, else minus the loss; of a training that diverged less than any."""
    if math.isnan(score["loss"]):
        return -math.inf
    return next((value for name, value in score.items() if "acc" in name), -score["loss"])


def _listed(callbacks: Any) -> Sequence[keras.callbacks.Callback]:
    """What to pass to one training's `fit`."""
    if callbacks is None:
        return ()
    found = callbacks if isinstance(callbacks, (list, tuple, keras.callbacks.Callback)) else callbacks()
    return [found] if isinstance(found, keras.callbacks.Callback) else list(found)


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as JSON takes them."""
    return {
        name: [float(each) for each in value] if isinstance(value, list) else float(value)
        for name, value in values.items()
    }
