"""Robustness measured: every attack at every radius, the worst case over them, and whether to believe it."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import backend
from keras_aug_ssl.adversarial.evaluation import masking
from keras_aug_ssl.adversarial.evaluation import random_models as evaluation_draws
from keras_aug_ssl.adversarial.evaluation.inputs import OWNER, comparable, labeled, named, radii, remade, usual
from keras_aug_ssl.adversarial.evaluation.random_models import draws_needed, errors
from keras_aug_ssl.adversarial.evaluation.report import Curve, RobustnessReport
from keras_aug_ssl.adversarial.search.attack import Attack
from keras_aug_ssl.adversarial.search.results import AttackResult, concatenate
from keras_aug_ssl.adversarial.threat.limits import check_inputs
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import Victim, victim_of
from keras_aug_ssl.checks import fail, integer
from keras_aug_ssl.meaning import heads
from keras_aug_ssl.workers import Engine, checked

_CHECKED = 100  # examples on which the checks for masked gradients run
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def evaluate_robustness(
    model: keras.Model,
    data: Any,
    attacks: Sequence[Attack] | None = None,
    epsilons: Sequence[float] | None = None,
    *,
    bounds: tuple[Any, Any] | None = None,
    transfer: Mapping[str, keras.Model] | None = None,
    checks: bool = True,
    input_name: str | int | None = None,
    batch_size: int = 250,
    verbose: int = 0,
    engine: Engine | None = None,
) -> RobustnessReport:
    """Measures how accurate a classifier stays under attack, and looks for signs that the figures are too good.

    An example counts as robust in the worst case when no attack fools it at this epsilon or a smaller one. Attacks for
    the smallest perturbation run once, and their distances give the accuracy at every epsilon. The checks watch a PGD
    of their own on up to 100 examples that the model gets right; what they find is in the report's `warnings`.

    A model that draws random numbers in inference is found out, and judged by its mean over many draws: an example is
    as robust as often as the model gets it right. The worst case then takes, for each example, the attack that fools it
    most often, and measures that one anew, so that no lucky draw counts.

    Args:
        model: any Keras classifier; it is not changed.
        data: `(x, y)`, or a data set of such batches (`tf.data`, TFDS, `PyDataset`), read once into memory.
        attacks: untargeted attacks of one norm; each is made anew for every epsilon. None: `FGSM`, `PGD`,
            `AutoAttack(version="fast")` and `GaussianNoise` in Linf.
        epsilons: radii in the unit of the model's input, >= 0. None: those of the attacks or, where these aren't given
            either, 2, 4, 8 and 16 / 255 of the width of the bounds.
        bounds: (low, high) of valid inputs for all attacks; None: their own, (0, 1) unless they say otherwise.
        transfer: other models, by name, whose accuracy on the examples made against `model` is measured too.
        checks: look for masked gradients.
        input_name: key or index of the attacked input of a model with several.
        batch_size: examples attacked at a time.
        verbose: 1 shows a progress bar over the examples of all runs.
        engine: who runs the attacks; None for this process, one after the other. `kas.scale.Ray(workers)` runs so many
            at the same time, each on a copy of model and data; what all have found is then held in memory together.

    Returns:
        A `RobustnessReport`: print it, plot it, or take its `table()` or `to_json()`.

    Raises:
        ValueError: no attacks, targeted ones, ones without a radius (`SpatialAttack`) or of different norms or bounds;
            negative epsilons; data without labels; a regression model; and what attacks raise.

    Example:
        >>> import keras, numpy as np, keras_aug_ssl as kas
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_initializer="identity")])
        >>> data = np.array([[0.75, 0.5], [0.9, 0.1]]), np.array([0, 0])  # 0.125 and 0.4 from the boundary
        >>> report = kas.evaluate_robustness(model, data, [kas.PGD(), kas.FMN()], epsilons=[0.1, 0.2])
        >>> report.worst_case, report.warnings
        ({0.1: 1.0, 0.2: 0.5}, ())
    """
    engine = checked(OWNER, engine)
    chosen = comparable(usual(heads.CLASSES) if attacks is None else attacks, bounds)
    epsilons = radii(epsilons, chosen, given=attacks is not None)
    options = {"input_name": input_name, "batch_size": integer(OWNER, "batch_size", batch_size, 1)}
    x, y = labeled(model, data, batch_size)
    victim = victim_of(OWNER, model, x, input_name=input_name, y=y, differentiated=False)
    if victim.head.kind == heads.NUMBERS:
        fail(OWNER, "model", "a classifier", model.name, "A regression model has no accuracy; see the loss of PGD.")
    if attacks is None:
        chosen = comparable(usual(victim.head.kind), bounds)
    check_inputs(OWNER, victim.inputs.split(x)[0], chosen[0].bounds)
    by_name = named(chosen)
    plan = _plan(by_name, epsilons)
    bar = keras.utils.Progbar(len(plan) * len(y), unit_name="example") if verbose else None
    job = _Job(model, x, y, chosen[0].norm, chosen[0].bounds, dict(transfer or {}), options, plan, bar)
    if engine is not None:
        job.run_ahead(engine)
    worst = _Worst(job, len(epsilons))
    curves, warnings = _measure(job, by_name, epsilons, worst)
    if job.is_random:
        warnings.append(evaluation_draws.warning(chosen))
    elif checks and backend.IS_TENSORFLOW:  # they compare with what gradients find
        warnings += _symptoms(job, epsilons)
    worst_case = dict(zip(epsilons, worst.accuracies(), strict=True))
    return RobustnessReport(job.norm, len(y), _accuracy(job.wrong), worst_case, tuple(curves), tuple(warnings))


_Key = tuple[str, float | None]
_Outcome = tuple[AttackResult, float] | ValueError


def _plan(attacks: Mapping[str, Attack], epsilons: Sequence[float]) -> dict[_Key, Attack]:
    """The runs, by the attack's name and the epsilon: None of an attack for the smallest perturbation."""
    each = {name: [None] if attack.minimal else epsilons for name, attack in attacks.items()}
    return {(name, epsilon): remade(attacks[name], epsilon=epsilon) for name in each for epsilon in each[name]}


def _outcome(
    attack: Attack,
    note: Callable[[AttackResult], None],
    model: keras.Model,
    x: Any,
    y: np.ndarray,
    options: dict[str, Any],
) -> _Outcome:
    """What an attack finds on all examples and the seconds it took, or why it can't be run."""
    begin, found = time.perf_counter(), []
    try:
        for result in attack.stream(model, x, y, **options):
            found.append(result)
            note(result)
        return concatenate(found), time.perf_counter() - begin
    except ValueError as error:
        return error


def _attacker(*victim: Any) -> Callable[[tuple[_Key, Attack]], tuple[_Key, _Outcome]]:
    """What a worker does with each run."""
    return lambda run: (run[0], _outcome(run[1], lambda result: None, *victim))


@dataclasses.dataclass
class _Job:
    """What all runs share: models, data, options of attacks, the runs and the progress bar."""

    model: keras.Model
    x: Any
    y: np.ndarray
    norm: str
    bounds: tuple[Any, Any]
    others: dict[str, keras.Model]
    options: dict[str, Any]
    plan: dict[_Key, Attack]
    bar: Any

    def __post_init__(self) -> None:
        self.found: dict[_Key, _Outcome] = {}
        models = [self.model, *self.others.values()]
        self.draws = {id(model): draws_needed(self.victim(model, self.x), self.x) for model in models}
        self.wrong = self.errors(self.model, self.x)

    @property
    def is_random(self) -> bool:
        """Whether the model draws random numbers in inference."""
        return self.draws[id(self.model)] > 1

    def victim(self, model: keras.Model, x: Any) -> Victim:
        """A model as attacks see it."""
        name = self.options["input_name"]
        return victim_of(OWNER, model, x, input_name=name, y=self.y, differentiated=False)

    @property
    def limits(self) -> dict[str, Any]:
        """Arguments of an attack like those in use."""
        return {"norm": self.norm, "bounds": self.bounds}

    def errors(self, model: keras.Model, x: Any) -> np.ndarray:
        """How often `model` is wrong on `x`, (N,): 0 or 1, or a share of the draws of a random one."""
        parts = batches(OWNER, model, x, self.y, self.options["batch_size"])
        draws = self.draws[id(model)]
        return np.concatenate([errors(OWNER, self.victim(model, some), some, y, draws) for some, y in parts])

    @property
    def _victim(self) -> tuple[Any, ...]:
        return self.model, self.x, self.y, self.options

    def run_ahead(self, engine: Engine) -> None:
        """Has `engine` run everything, in any order, before it is asked for."""
        runs = [(key, self._prepared(key)) for key in self.plan]
        with engine.running():
            for key, outcome in engine.map(functools.partial(_attacker, *self._victim), runs):
                self.found[key] = outcome
                if not isinstance(outcome, ValueError):
                    self._note(outcome[0])

    def run(self, key: _Key) -> tuple[AttackResult, float]:
        """What an attack finds on all examples, and the seconds it took."""
        outcome = self.found.pop(key, None) or _outcome(self._prepared(key), self._note, *self._victim)
        if isinstance(outcome, ValueError):
            raise outcome
        return outcome

    def _prepared(self, key: _Key) -> Attack:
        attack = self.plan[key]
        if self.is_random and "early_stop" in attack.get_config():
            return remade(attack, early_stop=False)  # the first success may be one lucky draw
        return attack

    def _note(self, result: AttackResult) -> None:
        if self.bar:
            self.bar.add(len(result.success), [("fooled", float(np.mean(result.success)))])

    def has_gradient(self) -> bool:
        """Whether attacks have a gradient to follow."""
        return masking.has_gradient(self.victim(self.model, self.x), self.x)


class _Worst:
    """For each epsilon and example how often the model is wrong at the worst point found, and for a random model the
    point itself: the highest of several means is too high, and must be measured again."""

    def __init__(self, job: _Job, count: int):
        self.job = job
        self.wrong = [job.wrong] * count
        self.x = [job.x] * count
        self.left = [_accuracy(job.wrong)] * count

    def meet(self, place: int, wrong: np.ndarray, x: Any) -> None:
        """Notes points (N, ...) inside the epsilon number `place`."""
        self.left[place] = min(self.left[place], _accuracy(wrong))
        worse = wrong > self.wrong[place]
        self.wrong[place] = np.where(worse, wrong, self.wrong[place])
        if self.job.is_random:
            self.x[place] = _choose(worse, x, self.x[place])

    def accuracies(self) -> list[float]:
        """What is left at each epsilon."""
        for place in range(1, len(self.wrong)):  # a larger ball holds the smaller ones
            self.meet(place, self.wrong[place - 1], self.x[place - 1])
        wrong = [self.job.errors(self.job.model, x) for x in self.x] if self.job.is_random else self.wrong
        return np.minimum.accumulate(np.minimum(self.left, [*map(_accuracy, wrong)])).tolist()


def _choose(chosen: np.ndarray, new: Any, old: Any) -> Any:
    def where(new: np.ndarray, old: np.ndarray) -> np.ndarray:
        return np.where(chosen.reshape(-1, *[1] * (np.ndim(old) - 1)), new, old)

    return tf.nest.map_structure(where, new, old)


def _measure(
    job: _Job, attacks: dict[str, Attack], epsilons: list[float], worst: _Worst
) -> tuple[list[Curve], list[str]]:
    """The curve of each attack, and which attacks can't be run."""
    curves, warnings = [], []
    for name, attack in attacks.items():
        try:
            curve = (_smallest if attack.minimal else _within)(job, name, epsilons, worst)
        except ValueError:
            if job.has_gradient():
                raise
            warnings.append(f"{name} is left out: it needs a gradient, and the model has none.")
        else:
            curves.append(curve)
    if not curves:
        expected = "a list with one that needs no gradient, for the model has none"
        fail(OWNER, "attacks", expected, list(attacks), "Square and HopSkipJump need none.")
    return curves, warnings


def _within(job: _Job, name: str, epsilons: list[float], worst: _Worst) -> Curve:
    """An attack that stays inside a radius: a run for each."""
    total, accuracy = 0.0, {}
    transfer: dict[str, dict[float, float]] = {other: {} for other in job.others}
    for place, epsilon in enumerate(epsilons):
        result, seconds = job.run((name, epsilon))
        total += seconds
        if job.is_random:
            wrong = job.errors(job.model, result.x_adv)
        else:
            wrong = np.maximum(result.success, job.wrong)  # a single step may put right what was wrong
        worst.meet(place, wrong, result.x_adv)
        accuracy[epsilon] = _accuracy(wrong)
        for other, model in job.others.items():
            transfer[other][epsilon] = _accuracy(job.errors(model, result.x_adv))
    return Curve(name, accuracy, total, transfer=transfer)


def _smallest(job: _Job, name: str, epsilons: list[float], worst: _Worst) -> Curve:
    """An attack for the smallest perturbation: one run, whose distances answer for every radius."""
    result, seconds = job.run((name, None))
    found = job.errors(job.model, result.x_adv) if job.is_random else result.success
    accuracy = {}
    for place, epsilon in enumerate(epsilons):
        near = result.success & (result.distance <= epsilon)
        wrong = np.where(near, found, job.wrong)
        worst.meet(place, wrong, _choose(near, result.x_adv, job.x) if job.is_random else None)
        accuracy[epsilon] = _accuracy(wrong)
    return Curve(name, accuracy, seconds, result.distribution(_QUANTILES))


def _symptoms(job: _Job, epsilons: list[float]) -> list[str]:
    """What the checks for masked gradients say, on the first examples that the model gets right."""
    right = np.flatnonzero(job.wrong == 0)[:_CHECKED]
    epsilons = [epsilon for epsilon in epsilons if epsilon > 0]
    if not len(right) or not epsilons:
        return []
    x, y = tf.nest.map_structure(lambda part: part[right], (job.x, job.y))
    look = masking.symptoms if job.has_gradient() else masking.without_gradient
    return look(job.model, x, y, epsilons, **job.limits, **job.options)


def _accuracy(wrong: np.ndarray) -> float:
    return float(1.0 - np.mean(wrong))
