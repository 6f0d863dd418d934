"""Laws about what an attack returns: inside its limits, as strong as it can be, and measured rightly."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_aug_ssl.adversarial.search.results import AttackResult
from keras_aug_ssl.testing.attack_subject import CLASSES, DUAL, RADIUS, SHAPE, SIZE, AttackSubject, network, pictures
from keras_aug_ssl.testing.laws import Law, broken, register, same

LAWS: list[Law] = []
WIDE = (-6.0, 7.0)  # bounds that no perturbation here meets
ROUNDING = 1e-3


@register(LAWS, "stays in ball and bounds", graphs=True)
def stays_in_ball_and_bounds(subject: AttackSubject) -> None:
    """Every example is finite, inside the bounds and, where there is one, inside the ball."""
    x = pictures()
    limit: dict[str, Any] = {"epsilon": RADIUS[subject.norm]} if subject.has_ball else {}
    _inside(subject, x, subject.run(x, **limit), RADIUS[subject.norm])


def _inside(
    subject: AttackSubject,
    x: np.ndarray,
    result: AttackResult,
    radius: float,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> None:
    x_adv = result.x_adv
    if x_adv.shape != x.shape or x_adv.dtype != np.float32:
        broken(f"examples {x.shape} become {x_adv.dtype} {x_adv.shape}")
    if not np.isfinite(x_adv).all():
        broken(f"{np.sum(~np.isfinite(x_adv))} values aren't finite")
    if x_adv.min() < bounds[0] or x_adv.max() > bounds[1]:
        broken(f"the values lie in [{x_adv.min():.6g}, {x_adv.max():.6g}], the bounds are {bounds}")
    size = subject.size(x_adv - x)
    if subject.has_ball and (size > radius * (1.0 + 1e-6)).any():
        broken(f"a perturbation has the size {size.max():.9g}, the radius is {radius:.9g}")
    same(result.distance, size, "the distances told and measured", 1e-5 * max(1.0, size.max()))


@register(LAWS, "no radius, no change", lambda subject: subject.has_ball, graphs=True)
def no_radius_no_change(subject: AttackSubject) -> None:
    """With an epsilon of 0 the inputs come back to the bit, and those that were wrong are the successes."""
    x = pictures()
    result = subject.run(x, epsilon=0.0)
    same(result.x_adv, x, "inputs and examples without a radius")
    same(result.success, network().scores(x).argmax(axis=1) != subject.labels(x), "successes and what was wrong before")


@register(LAWS, "exact on a linear model", lambda subject: subject.has_ball)
def exact_on_a_linear_model(subject: AttackSubject) -> None:
    """There the margin falls by epsilon times the slope's dual norm, or the boundary is margin / dual norm away."""
    _exact(subject, WIDE, subject.optimality)


@register(LAWS, "bounds may be infinite", lambda subject: subject.has_ball)
def bounds_may_be_infinite(subject: AttackSubject) -> None:
    """Without bounds, and with a lower one alone, it is as exact on a linear model as with wide ones."""
    # An attack that starts anywhere between the bounds starts farther away, and only has to find the boundary.
    optimality = subject.optimality if subject.optimality >= 0.9 else 0.0
    for low in (-np.inf, WIDE[0]):
        _exact(subject, (low, np.inf), optimality)


@register(LAWS, "a masked class saves nobody", lambda subject: subject.has_ball)
def masked_class_saves_nobody(subject: AttackSubject) -> None:
    """It is as exact on a linear model when a third class has a logit of minus infinity, as masks give it."""
    _exact(subject, WIDE, subject.optimality, "masked")


def _exact(subject: AttackSubject, bounds: tuple[float, float], optimality: float, kind: str = "linear") -> None:
    slope = DUAL[subject.norm](network().slope)
    reach = RADIUS[subject.norm] * slope
    margins = reach * np.array([2.0, 1.5, 0.8 * optimality][: 3 if optimality else 2])
    x = _with_margins(margins)
    result = subject.run(x, np.zeros(len(x), int), kind, bounds=bounds)
    _inside(subject, x, result, np.inf if subject.minimal else RADIUS[subject.norm], bounds)
    if subject.minimal:
        _nearly_smallest(result, margins / slope, optimality)
        return
    fall = margins - _margin(result.x_adv)
    if (fall > reach * (1.0 + ROUNDING)).any():
        broken(f"a margin falls by {fall.max():.4g}, and {reach:.4g} is possible")
    far = margins > reach
    if optimality and (fall[far] < optimality * reach - ROUNDING).any():
        broken(f"a margin falls by {fall[far].min():.4g} of {reach:.4g} possible")
    if result.success.tolist() != (margins < reach).tolist():
        broken(f"of margins that are {(margins / reach).round(2)} of what is possible {result.success} are overcome")


def _nearly_smallest(result: AttackResult, smallest: np.ndarray, optimality: float) -> None:
    if not result.success.all():
        broken(f"only {result.success.sum()} of {len(smallest)} boundaries are found")
    share = smallest / result.distance
    if (share > 1.0 + ROUNDING).any() or (share < optimality).any():
        broken(f"boundaries at {smallest.round(4)} are crossed at {result.distance.round(4)}")


def _with_margins(margins: np.ndarray) -> np.ndarray:
    """Grey pictures, each moved along the slope until the linear network has this margin on it."""
    slope = network().slope
    start = np.random.default_rng(3).uniform(0.4, 0.6, (len(margins), SIZE))
    moved = start + np.outer((margins - start @ slope) / (slope @ slope), slope)
    return moved.reshape(-1, *SHAPE).astype(np.float32)


def _margin(x: np.ndarray) -> np.ndarray:
    scores = network().scores(x)
    return scores[:, 0] - scores[:, 1]


@register(LAWS, "every boundary is found", lambda subject: subject.minimal, graphs=True)
def every_boundary_is_found(subject: AttackSubject) -> None:
    """Where all logits are large, and their differences rounded, 19 of 20 examples are still fooled."""
    x = pictures(60)
    network().become("raised")
    result = subject.run(x, network().scores(x).argmax(axis=1), "raised", bounds=WIDE)
    if result.success.mean() < 0.95:  # a few steps need not reach them all
        broken(f"only {result.success.sum()} of {len(x)} boundaries are found")


@register(LAWS, "a larger ball is no harder", lambda subject: subject.has_ball, graphs=True)
def larger_ball_is_no_harder(subject: AttackSubject) -> None:
    """On a linear model an example fooled within some epsilon is fooled within every larger one, by the same seed."""
    reach = RADIUS[subject.norm] * DUAL[subject.norm](network().slope)
    x = _with_margins(reach * np.linspace(0.05, 1.8, 8))
    before = np.zeros(len(x), bool)
    for share in (0.25, 0.5, 1.0, 2.0):
        epsilon = share * RADIUS[subject.norm]
        fooled = subject.run(x, np.zeros(len(x), int), "linear", epsilon=epsilon, bounds=WIDE).success
        if (before & ~fooled).any():
            broken(f"{np.sum(before & ~fooled)} are fooled within {epsilon / 2:g} and not within {epsilon:g}")
        before = fooled
    if subject.optimality and not before.any():
        broken("none is fooled within any")


@register(LAWS, "pixels at a bound can move", graphs=True)
def pixels_at_a_bound_can_move(subject: AttackSubject) -> None:
    """In a picture of black and white alone values change, and the margin of a linear model falls."""
    x = np.random.default_rng(5).integers(0, 2, (1, *SHAPE)).astype(np.float32)
    bias = 0.1 - float(x.reshape(SIZE) @ network().slope)
    attack, model = subject.attack(), network().become("linear", bias)
    before = _margin(x)
    x_adv = attack(model, x, np.zeros(len(x), int)).x_adv
    if np.array_equal(x_adv, x):
        broken("it comes back as it was")
    if subject.has_ball and subject.optimality and _margin(x_adv) >= before:
        broken(f"the margin {before} becomes {_margin(x_adv)}")


@register(LAWS, "a zero gradient stays finite", graphs=True)
def zero_gradient_stays_finite(subject: AttackSubject) -> None:
    """On a constant model and on one whose outputs aren't finite examples stay in ball and bounds, and fool nobody."""
    x = pictures()
    for kind in ("constant", "broken"):
        result = subject.run(x, np.zeros(len(x), int), kind)
        _inside(subject, x, result, np.inf if subject.minimal else RADIUS[subject.norm])
        if result.success.any():
            broken(f"{result.success.sum()} succeed on a {kind} model")
        if subject.minimal:
            same(result.x_adv, x, "what comes back where nothing is found, and the inputs,")


@register(LAWS, "success is true", graphs=True)
def success_is_true(subject: AttackSubject) -> None:
    """Success is what the model says of the examples returned; what was wrong before comes back as it was."""
    x = pictures()
    result = subject.run(x)
    labels = subject.labels(x)
    same(result.success, network().scores(result.x_adv).argmax(axis=1) != labels, "success told and measured")
    if subject.minimal:
        kept = ~result.success
        kept[-1] = True
        same(result.x_adv[kept], x[kept], "what was wrong already or nothing is found for, after and before,")


@register(LAWS, "targets are reached", lambda subject: subject.can_be_targeted)
def targets_are_reached(subject: AttackSubject) -> None:
    """Targeted, success is that the model says what was wished for, and the wish comes nearer."""
    x = pictures(4)
    network().become("curved")
    wished = (network().scores(x).argmax(axis=1) + 1) % CLASSES
    result = subject.run(x, wished, share=3.0, targeted=True)
    after = network().scores(result.x_adv)
    same(result.success, after.argmax(axis=1) == wished, "success told and measured")
    if subject.optimality and not result.success.any():
        broken(f"none of {len(x)} reaches its target")
