"""The outer call of every attack: checks, batches, graphs, and success measured afresh."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from keras_aug_ssl import checks
from keras_aug_ssl.adversarial.search.problem import Found, Limits, Problem
from keras_aug_ssl.adversarial.search.results import AttackResult, concatenate
from keras_aug_ssl.adversarial.threat import balls, noise
from keras_aug_ssl.adversarial.threat.balls import spread
from keras_aug_ssl.adversarial.threat.limits import check_bounds, check_inputs, check_mask
from keras_aug_ssl.adversarial.victim import objectives
from keras_aug_ssl.adversarial.victim.batches import batches
from keras_aug_ssl.adversarial.victim.model import Victim, concrete, victim_of
from keras_aug_ssl.meaning import heads, losses
from keras_aug_ssl.meaning.labels import check_judged, decisions, decisions_in_graph, predicted

Finish = Callable[[Problem, Found], tuple[tf.Tensor, ...]]


class Attack:
    """Base of all attacks. A subclass implements `search`; everything else is here.

    The model is used in inference mode and never changed. Success is measured afresh on what the search returns, after
    it was put strictly inside the ball, the bounds and the mask. Draws belong to the example (hashed with the seed), so
    an example gets the same result alone and in any batch.

    Args:
        epsilon: largest size of a perturbation in the unit of the model's input, >= 0. None, for attacks that look for
            the smallest perturbation, means no limit.
        norm: "linf", "l2" or "l1".
        bounds: (low, high) of valid inputs in their own unit; numbers, or arrays that broadcast to one example.
        loss: what to raise: "auto", "crossentropy", "margin", "dlr", "kl" (divergence from the clean prediction), a
            Keras loss, or a callable of (y_true, y_pred). "auto" fits the model's head; for classes it is cross-entropy
            in a form that doesn't saturate, with the logits of an unsure model made steeper.
        targeted: `y` names the class to reach instead of the class to leave.
        seed: int in [0, 2^32); equal seeds give equal results.
        jit_compile: compile with XLA. Off by default: on CPUs it makes the gradient of pooling several times slower.
            Examples that are done then stay in the batch, since XLA needs fixed shapes.
    """

    arguments = ("epsilon", "norm", "bounds", "loss", "targeted", "seed", "jit_compile")
    """Names of the arguments all attacks share."""
    early_stop = True
    """Examples leave at their first success, and those wrong already are not touched."""
    needs_epsilon = True
    """Without an epsilon the attack has no limit to keep, which is an error."""
    one_step = False
    """The attack steps once, along the gradient of cross-entropy as it is."""
    differentiates = True
    """The search follows gradients through the model; else it asks for answers only."""
    minimal = False
    """The attack looks for the smallest perturbation: where it finds none, the original comes back."""

    def __init__(
        self,
        epsilon: float | None,
        norm: str = "linf",
        *,
        bounds: tuple[Any, Any] = (0.0, 1.0),
        loss: Any = "auto",
        targeted: bool = False,
        seed: int = 0,
        jit_compile: bool = False,
    ):
        owner = type(self).__name__
        needed = epsilon is not None or self.needs_epsilon
        self.epsilon = checks.number(owner, "epsilon", epsilon, 0.0) if needed else None
        self.ball = balls.named(owner, norm)
        self.norm = self.ball.name
        self.bounds = check_bounds(owner, bounds)
        self.loss = objectives.check(owner, loss)
        self.targeted = bool(targeted)
        self.seed = checks.integer(owner, "seed", seed, 0, 2**32 - 1)
        self.jit_compile = bool(jit_compile)

    def search(self, problem: Problem) -> Found:
        """Looks for adversarial examples; pure graph code.

        Args:
            problem: a batch of examples the model gets right (all examples when `early_stop` is off). Its `evaluate`,
                `scores`, `project` and `rows["keys"]` are all a search needs; the radius is `problem.radius`.

        Returns:
            The best point found for each example, and what it cost.
        """
        raise NotImplementedError

    def objective(self, head: heads.Head, compiled: Any) -> objectives.Objective:
        """What the search raises on a model with this head, compiled with this loss."""
        chosen = objectives.choose(type(self).__name__, self.loss, head, compiled)
        automatic = isinstance(self.loss, str) and self.loss == "auto"
        if automatic and chosen is objectives.log_odds and not self.one_step:
            return objectives.sharp_log_odds
        return chosen

    def __call__(self, model: keras.Model, x: Any, y: Any = None, **options: Any) -> AttackResult:
        """Attacks `model` on data.

        Args:
            model: any Keras model; weights, BatchNormalization statistics and optimizer stay as they are.
            x: (N, ...) inputs, uint8 or float, inside `bounds`; or a dict or list of them; or a data set that brings
                the labels (`tf.data`, TFDS, `PyDataset`).
            y: (N,) class numbers, (N, K) one-hot labels, or what the model is fitted to; for a targeted attack the
                classes to reach. None: the model's own predictions.
            **options: `mask`, `input_name`, `batch_size` and `verbose`, see `stream`.

        Returns:
            An `AttackResult` with one row an example.

        Raises:
            NotImplementedError: it follows gradients, and Keras runs on another backend than TensorFlow.
            ValueError: for inputs outside `bounds`, labels out of range, or a model whose outputs can't be told to be
                logits or probabilities.
        """
        return concatenate(list(self.stream(model, x, y, **options)))

    def stream(
        self,
        model: keras.Model,
        x: Any,
        y: Any = None,
        *,
        mask: Any = None,
        input_name: str | int | None = None,
        batch_size: int = 250,
        verbose: int = 0,
    ) -> Iterator[AttackResult]:
        """The same as a call, one result a batch, so that data larger than memory can be attacked.

        Args:
            model: any Keras model.
            x: the data, as for a call.
            y: the labels, as for a call.
            mask: 1 where a value may change, 0 where not; broadcasts to one example, or has one row an example.
            input_name: key or index of the attacked input of a model with several.
            batch_size: examples attacked at a time; bounds the memory.
            verbose: 1 shows a progress bar.

        Yields:
            The results of consecutive batches.
        """
        owner = type(self).__name__
        first = tf.nest.flatten(x)[0]
        bar = keras.utils.Progbar(len(first) if hasattr(first, "shape") else None) if verbose else None
        done, victim = 0, None
        for x_batch, y_batch in batches(owner, model, x, y, checks.integer(owner, "batch_size", batch_size, 1)):
            if victim is None:  # one look at the model a call: it takes as long as a step of a small attack
                known = y_batch if y is None else y
                victim = victim_of(
                    owner,
                    model,
                    x_batch,
                    loss=self.loss,
                    input_name=input_name,
                    y=known,
                    differentiated=self.differentiates,
                )
            rows = check_mask(owner, mask, victim.inputs.split(x_batch)[0], done)
            result = self.attack_batch(victim, x_batch, y_batch, rows)
            done += len(result.success)
            if bar:
                bar.update(done, [("fooled", float(np.mean(result.success)))])
            yield result

    def attack_batch(
        self, victim: Victim, x: Any, y: Any, mask: np.ndarray | None = None, given: np.ndarray | None = None
    ) -> AttackResult:
        """Attacks one batch of arrays.

        Args:
            victim: the model.
            x: the inputs, in the structure the victim was made for.
            y: labels or None.
            mask: of the shape of an example or of the batch.
            given: points (B, ...) that the search finds as `problem.rows["given"]`.
        """
        found = self.found(victim, self._arguments(victim, x, y, mask, given), self._finish)
        x_adv, success, distance, loss, queries, zero_gradient = found
        return AttackResult(
            x_adv, success, distance, loss, queries, zero_gradient, norm=self.norm, early_stop=self.early_stop
        )

    def found(self, victim: Victim, arguments: tuple[dict[str, Any], list[Any]], finish: Finish) -> list[Any]:
        """Runs the attack on one batch; what `finish` says of it as arrays, the adversarial inputs first."""
        rows, limits = arguments
        run = self._graph(victim, rows, limits, finish)
        x_adv, *rest = (part.numpy() for part in run(rows, limits, self._radius(), tf.constant(self.seed, tf.int64)))
        return [victim.inputs.join(x_adv, [other.numpy() for other in rows["others"]]), *rest]

    def _arguments(
        self, victim: Victim, x: Any, y: Any, mask: np.ndarray | None, given: np.ndarray | None
    ) -> tuple[dict[str, Any], list[Any]]:
        """Checks one batch and sorts it into rows, one an example, and limits for all of them."""
        owner = type(self).__name__
        x, others = victim.inputs.split(x)
        x = check_inputs(owner, np.asarray(x), self.bounds)
        if y is None and self.targeted:
            checks.fail(owner, "y", "the classes to reach, since the attack is targeted", y)
        by_loss = objectives.judged_by_loss(self.loss, victim.head)
        if y is None and by_loss and victim.head.single and losses.says(self.loss) is None:
            checks.fail(
                owner, "y", "given, since a loss of one's own doesn't tell in which form it wants labels", None,
                "Pass the labels as the model is fitted to.",
            )  # fmt: skip
        if by_loss and y is not None:
            check_judged(owner, victim.head, y, self.loss)
        optional = {
            "y": None if y is None else decisions(owner, victim.head, y, len(x)),
            "truth": None if y is None or not by_loss else np.asarray(y, np.float32),
            "mask": mask if mask is not None and mask.ndim == x.ndim else None,
            "given": given,
        }
        arrays = {"x": x, **{name: part for name, part in optional.items() if part is not None}}
        rows = {name: tf.convert_to_tensor(part) for name, part in arrays.items()}
        limits = [*self.bounds, *([mask] if mask is not None and mask.ndim < x.ndim else [])]
        return {**rows, "others": list(map(tf.convert_to_tensor, others))}, list(map(tf.convert_to_tensor, limits))

    def problem(self, victim: Victim, x: Any, y: Any, seed: tf.Tensor, share: Any = 1.0) -> Problem:
        """States the problem of one batch: graph code for training loops, without checks of values.

        Args:
            victim: the attacked model.
            x: (B, ...) inputs inside the bounds, or the structure of inputs the victim was made for.
            y: labels as the model is fitted to; None for its own predictions.
            seed: integer scalar, new in every step.
            share: of epsilon that is the radius, in [0, 1]: a float32 scalar, or (B,) for each example its own.
        """
        x, others = victim.inputs.split(x)
        seed = tf.cast(seed, tf.int64) * 0x9E3779B1 + self.seed  # an odd factor: no two steps share a seed
        rows = {"x": tf.cast(x, tf.float32), "others": others}
        if y is not None:
            rows["y"] = decisions_in_graph(victim.head, y)
            if objectives.judged_by_loss(self.loss, victim.head):
                rows["truth"] = y
        problem = self._pose(victim, rows, [*self.bounds], self._radius() * share, seed)
        # Published methods train on cross-entropy as it is.
        objective = objectives.log_odds if problem.objective is objectives.sharp_log_odds else problem.objective
        # Keras compiles training with XLA on GPUs, which needs fixed shapes, and may run several steps in a loop.
        return dataclasses.replace(problem, objective=objective, compact=False, looped=True)

    def perturb(self, victim: Victim, x: Any, y: Any, seed: tf.Tensor, share: Any = 1.0) -> Any:
        """Adversarial inputs for one batch, in the structure of `x`; arguments as for `problem`."""
        problem = self.problem(victim, x, y, seed, share)
        x_adv = tf.stop_gradient(self.inside(problem, self.search(problem)))
        return victim.inputs.join(x_adv, problem.rows["others"])

    def get_config(self) -> dict[str, Any]:
        """The arguments of the constructor, as plain values."""
        loss = self.loss if isinstance(self.loss, str) else keras.saving.serialize_keras_object(self.loss)
        bounds = [bound.tolist() for bound in self.bounds]
        return {"epsilon": self.epsilon, **self.recipe(), "loss": loss, "bounds": bounds, "seed": self.seed}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Attack:
        """Undoes `get_config`."""
        config = dict(config)
        if not isinstance(config.get("loss", "auto"), str):
            config["loss"] = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**config)

    def recipe(self) -> dict[str, Any]:
        """The arguments built into the graph: all but epsilon, bounds and seed, which are its inputs."""
        return {"norm": self.norm, "loss": self.loss, "targeted": self.targeted, "jit_compile": self.jit_compile}

    def _radius(self) -> tf.Tensor:
        """Epsilon in float32, rounded down, so that what is inside it is inside what the user wrote."""
        if self.epsilon is None:
            return tf.constant(np.inf, tf.float32)
        radius = np.float32(self.epsilon)
        return tf.constant(radius if float(radius) <= self.epsilon else np.nextafter(radius, np.float32(0.0)))

    def _graph(self, victim: Victim, rows: dict[str, Any], limits: list[Any], finish: Finish) -> Any:
        """The traced attack: one for a model, a recipe and the shape of an example, for any number of examples."""
        recipe = tuple(sorted(self.recipe().items()))
        examples = tuple((part.dtype, *part.shape[1:]) for part in tf.nest.flatten(rows))
        shared = tuple((part.dtype, *part.shape) for part in limits)
        key = (type(self), recipe, finish.__name__, *sorted(rows), examples, shared)
        signature = [
            tf.nest.map_structure(lambda t: tf.TensorSpec([None, *t.shape[1:]], t.dtype), rows),
            [tf.TensorSpec(t.shape, t.dtype) for t in limits],
            tf.TensorSpec([], tf.float32),
            tf.TensorSpec([], tf.int64),
        ]

        def run(*arguments: Any) -> tuple[tf.Tensor, ...]:
            problem = self._pose(victim, *arguments)
            return finish(problem, self._run(problem))

        if tf.config.functions_run_eagerly():
            return run  # a concrete function would be a graph all the same, and nothing to debug
        return victim.graph(key, lambda: concrete(run, signature, jit_compile=self.jit_compile or None))

    def _pose(
        self, victim: Victim, rows: dict[str, Any], limits: list[Any], radius: tf.Tensor, seed: tf.Tensor
    ) -> Problem:
        """States the problem."""
        clean = victim.scores(rows["x"], rows["others"])
        y = rows["y"] if "y" in rows else predicted(victim.head, clean)
        goal = clean if isinstance(self.loss, str) and self.loss == "kl" else rows.get("truth", y)
        keys = noise.example_keys(rows["x"], seed)
        examples = {**rows, "y": y, "goal": goal, "clean": clean, "keys": keys}
        objective = self.objective(victim.head, victim.compiled_loss)
        low, high, *shared = (tf.cast(part, tf.float32) for part in limits)
        return Problem(
            victim, objective, self.ball, radius, Limits(low, high, *shared), self.targeted, examples,
            compact=not self.jit_compile,
        )  # fmt: skip

    def _run(self, problem: Problem) -> Found:
        """Searches where there is something to find."""
        if not self.early_stop:
            return self.search(problem)
        right = ~problem.fooled(problem.rows["clean"])
        return search_where(problem, right, self.search, Found.nothing(problem))

    def inside(self, problem: Problem, found: Found) -> tf.Tensor:
        """What was found, put strictly inside the limits."""
        return problem.contain(found.x)

    def unjudged(self, problem: Problem, found: Found) -> tuple[tf.Tensor, ...]:
        """What was found, and nothing about it."""
        return (self.inside(problem, found),)

    def _finish(self, problem: Problem, found: Found) -> tuple[tf.Tensor, ...]:
        """What was found, measured."""
        x = self.inside(problem, found)
        scores = problem.scores(x)
        success = problem.fooled(scores)
        if self.minimal:
            x = tf.where(spread(success, x), x, problem.x)
            scores = tf.where(spread(success, scores), scores, problem.rows["clean"])
        if problem.objective in (objectives.log_odds, objectives.sharp_log_odds):
            loss = objectives.cross_entropy(scores, problem.y)
        else:
            loss = problem.objective(scores, problem.rows["goal"])
        if self.one_step:  # it judged its only gradient; the clean scores, unused then, cost no forward pass
            return x, success, problem.distance(x), loss, found.queries + 1, found.dead
        dead = found.dead | problem.saturated(problem.rows["clean"])
        return x, success, problem.distance(x), loss, found.queries + 2, dead


def search_where(problem: Problem, chosen: tf.Tensor, search: Callable[[Problem], Found], otherwise: Found) -> Found:
    """What `search` finds for the chosen examples, (B,) bool, with the others gathered away where they may leave."""
    if not problem.compact:
        found = search(problem)
        return Found(*(tf.where(spread(chosen, new), new, old) for new, old in zip(found, otherwise, strict=True)))
    index = tf.boolean_mask(tf.range(problem.size), chosen)

    def some() -> Found:
        x, queries, dead = search(problem.take(index))
        return Found(
            tf.tensor_scatter_nd_update(otherwise.x, index[:, None], x),
            tf.tensor_scatter_nd_update(otherwise.queries, index[:, None], queries),
            (tf.scatter_nd(index[:, None], tf.cast(dead, tf.int32), [problem.size]) > 0) | (otherwise.dead & ~chosen),
        )

    return tf.cond(tf.size(index) > 0, some, lambda: otherwise)
