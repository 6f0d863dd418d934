"""The recipes: each paper's method as a setting of `ConsistencyModel`.

In the equations B labeled rows x_b have labels y_b, N unlabeled rows are u_n, p is the student's prediction, q the
labeller's, H(t, p) the cross-entropy, and w the weight. `weak` and `strong` are functions of a batch of inputs; None
are the library's own for images, which mirror them: where left and right mean something, pass others. `options` are
those of `ConsistencyModel`: `joint`, `prior`, `seed` and `name`.

Steps and momenta are the papers', whose trainings take hundreds of thousands of steps. In one of a few thousand, ramps
should take a tenth of it, and a momentum of 0.99 follows what the model has become.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_aug_ssl import rules
from keras_aug_ssl.consistency.interpolated import Interpolated
from keras_aug_ssl.consistency.labelling import Alignment, Labeller
from keras_aug_ssl.consistency.losses import ConsistencyLoss, EntropyMinimization, Fairness
from keras_aug_ssl.consistency.mixed import Mixed
from keras_aug_ssl.consistency.model import ConsistencyModel
from keras_aug_ssl.consistency.ramps import Cosine, Linear, Sigmoid
from keras_aug_ssl.consistency.selection import Selector
from keras_aug_ssl.consistency.views import View, Views
from keras_aug_ssl.consistency.virtual import VirtualAdversarial


def _made(name: str, model: keras.Model, parts: tuple[Any, ...], options: dict[str, Any]) -> ConsistencyModel:
    return ConsistencyModel(model, *parts, **{"name": name, **options})


def PseudoLabel(
    model: keras.Model,
    weak: View | None = None,
    *,
    threshold: float | None = None,
    unlabeled_weight: float = 3.0,
    ramp_steps: int = 8_000,
    start_step: int = 2_000,
    **options: Any,
) -> ConsistencyModel:
    """Learns on its own most probable class (Lee 2013, eq. 15 and 16).

    1/B sum_b H(y_b, p(x_b)) + w(t) 1/N sum_n H(argmax p(u_n), p(u_n)).

    Args:
        model: the model to train.
        weak: the view of both kinds of rows; there is no other.
        threshold: least confidence; None takes all rows, as the paper.
        unlabeled_weight: w at the end; the paper's alpha_f.
        ramp_steps, start_step: of its linear rise; the paper's is from epoch 100 to 600.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.PseudoLabel(model, weak=lambda x: x).name
        'PseudoLabel'
    """
    rule = None if threshold is None else rules.Threshold(threshold)
    loss = ConsistencyLoss(weight=unlabeled_weight, ramp=Linear(ramp_steps, start_step))
    return _made("PseudoLabel", model, (Labeller(0.0), rule, Views(weak, "same"), loss), options)


def PiModel(
    model: keras.Model,
    weak: View | None = None,
    *,
    unlabeled_weight: float = 10.0,
    ramp_steps: int = 20_000,
    **options: Any,
) -> ConsistencyModel:
    """Answers alike for two weak views, gradients to both (Laine and Aila 2017, arXiv 1610.02242, algorithm 1).

    1/B sum_b H(y_b, p(x_b)) + w(t) 1/(K N) sum_n |p(weak(u_n)) - p(weak'(u_n))|^2. For regression p are the numbers.

    The paper also counts labeled rows in the second sum: for that, put them among the unlabeled ones too.

    Args:
        model: the model to train, of classes or numbers; dropout helps.
        weak: draws the views.
        unlabeled_weight: w at the end; the paper's is 100 times the share of labeled rows.
        ramp_steps: that w takes to rise, >= 1; the paper's 80 epochs.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.2), keras.layers.Dense(1)])
        >>> kas.PiModel(model, weak=lambda x: x).labeller.differentiable
        True
    """
    loss = ConsistencyLoss("mse", unlabeled_weight, Sigmoid(ramp_steps))
    return _made("PiModel", model, (Labeller(differentiable=True), None, Views(weak, "weak"), loss), options)


def MeanTeacher(
    model: keras.Model,
    weak: View | None = None,
    *,
    decay: float = 0.999,
    unlabeled_weight: float = 100.0,
    ramp_steps: int = 40_000,
    **options: Any,
) -> ConsistencyModel:
    """Answers on one weak view as the average of the weights does on another (Tarvainen and Valpola 2017, arXiv
    1703.01780, eq. 1 and 2).

    1/B sum_b H(y_b, p(x_b)) + w(t) 1/(K N) sum_n |q(weak(u_n)) - p(weak'(u_n))|^2, q by the average of the weights,
    which is `decay` of itself and the rest of the weights after each step (in step t at most 1 - 1/(t + 1), as in the
    authors' code). For regression p and q are the numbers. `teacher_weights` gives the average, which is what the paper
    evaluates.

    Args:
        model: the model to train, of classes or numbers; dropout helps.
        weak: draws the views.
        decay: of the average, in (0, 1).
        unlabeled_weight: w at the end.
        ramp_steps: that w takes to rise, >= 1.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.MeanTeacher(model, weak=lambda x: x, decay=0.99).labeller.decay
        0.99
    """
    loss = ConsistencyLoss("mse", unlabeled_weight, Sigmoid(ramp_steps))
    return _made("MeanTeacher", model, (Labeller(decay=decay), None, Views(weak, "weak"), loss), options)


def VAT(
    model: keras.Model,
    weak: View | None = None,
    *,
    epsilon: float = 2.5,
    unlabeled_weight: float = 1.0,
    entropy: float = 0.0,
    **options: Any,
) -> ConsistencyModel:
    """Answers alike for a row and the small change of it that would turn the answer most (Miyato et al. 2018, arXiv
    1704.03976, eq. 5-8; with `entropy` eq. 10).

    1/B sum_b H(y_b, p(x_b)) + w 1/N sum_n KL(q(u_n) || p(u_n + r_n)) + entropy 1/N sum_n H(p(u_n + r_n)), where |r_n| =
    epsilon. For regression the divergence is the squared difference. The paper takes the entropy at u_n itself.

    Args:
        model: the model to train, of classes or numbers.
        weak: a view of both kinds of rows; None shows them as they are, as the method needs none.
        epsilon: Euclidean length of the change, in the unit of the inputs. The one thing to tune: the paper has 0.05 to
            10.
        unlabeled_weight: w; the paper's alpha.
        entropy: weight of the entropy; 0 for VAT, 1 for VAT+EntMin.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.VAT(model, epsilon=0.5).views.epsilon
        0.5
    """
    terms = [EntropyMinimization(entropy)] if entropy else []
    views = VirtualAdversarial(weak, epsilon=epsilon)
    return _made("VAT", model, (Labeller(), None, views, ConsistencyLoss("kl", unlabeled_weight, terms=terms)), options)


def MixMatch(
    model: keras.Model,
    weak: View | None = None,
    *,
    temperature: float = 0.5,
    alpha: float = 0.75,
    unlabeled_weight: float = 75.0,
    ramp_steps: int = 16_000,
    **options: Any,
) -> ConsistencyModel:
    """Guesses labels as the sharpened mean of two views, then mixes all rows (Berthelot et al. 2019, arXiv 1905.02249,
    eq. 2-5 and algorithm 1).

    1/B sum_b H(y'_b, p(x'_b)) + w(t) 1/(2 K N) sum_n |q'_n - p(u'_n)|^2 over the mixed rows x', u' and labels y', q'.

    Args:
        model: the model to train.
        weak: draws the views.
        temperature: of the sharpening; the paper's T.
        alpha: of the Beta distribution of the shares.
        unlabeled_weight: w at the end; the paper has 75 to 250.
        ramp_steps: that w takes to rise, >= 1.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.MixMatch(model, weak=lambda x: x).labeller.views
        2
    """
    labeller, loss = Labeller(temperature, views=2), ConsistencyLoss("mse", unlabeled_weight, Linear(ramp_steps))
    return _made("MixMatch", model, (labeller, None, Mixed(weak, alpha), loss), options)


def UDA(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    threshold: float = 0.8,
    temperature: float = 0.4,
    unlabeled_weight: float = 1.0,
    **options: Any,
) -> ConsistencyModel:
    """Sharpened answers of sure views, learned on strong views (Xie et al. 2020, arXiv 1904.12848, eq. 1).

    1/B sum_b H(y_b, p(x_b)) + w 1/N sum_n 1[max q_n >= threshold] H(q_n^(1/T), p(strong(u_n))), q_n = p(weak(u_n)).

    The paper's annealing of the labeled loss is left out.

    Args:
        model: the model to train.
        weak, strong: the views.
        threshold: least confidence; the paper's beta.
        temperature: T of the sharpening; the paper's tau.
        unlabeled_weight: w; the paper's lambda.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.UDA(model, weak=lambda x: x, strong=lambda x: -x).labeller.temperature
        0.4
    """
    parts = (Labeller(temperature), rules.Threshold(threshold), Views(weak, strong))
    return _made("UDA", model, (*parts, ConsistencyLoss(weight=unlabeled_weight)), options)


def FixMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    threshold: float = 0.95,
    unlabeled_weight: float = 1.0,
    alignment: Alignment | None = None,
    **options: Any,
) -> ConsistencyModel:
    """Hard labels of sure weak views, learned on strong views (Sohn et al. 2020, arXiv 2001.07685, eq. 3 and 4).

    1/B sum_b H(y_b, p(x_b)) + w 1/N sum_n 1[max q_n >= threshold] H(argmax q_n, p(strong(u_n))), q_n = p(weak(u_n)).

    Args:
        model: the model to train.
        weak, strong: the views.
        threshold: least confidence; the paper's tau.
        unlabeled_weight: w, >= 0; the paper's lambda_u.
        alignment: of the class mix of the guesses, which helps with very few labels; None for the paper's main form.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten(), keras.layers.Dense(10)])
        >>> kas.FixMatch(model, strong=kas.layers.strong_augmentation(flip=False)).selector.rule
        Threshold(confidence=0.95)
    """
    parts = (Labeller(0.0, alignment=alignment), rules.Threshold(threshold), Views(weak, strong))
    return _made("FixMatch", model, (*parts, ConsistencyLoss(weight=unlabeled_weight)), options)


def FlexMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    threshold: float = 0.95,
    unlabeled_weight: float = 1.0,
    momentum: float = 0.999,
    **options: Any,
) -> ConsistencyModel:
    """FixMatch with a lower level for classes that few rows are sure of (Zhang et al. 2021, arXiv 2110.08263).

    The loss is FixMatch's with the level of `rules.FlexThreshold` in place of the threshold (eq. 5-11). The paper
    counts each row of the pool by the last class it was sure of; here running averages over batches stand for these
    counts, which need no table of the pool.

    Args:
        model: the model to train.
        weak, strong: the views.
        threshold: level of the class that is learned best.
        unlabeled_weight: w, >= 0.
        momentum: of the running averages.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.FlexMatch(model, weak=lambda x: x, strong=lambda x: -x).selector.rule
        FlexThreshold(confidence=0.95)
    """
    selector = Selector(rules.FlexThreshold(threshold), momentum)
    return _made("FlexMatch", model, _fixmatch(selector, weak, strong, unlabeled_weight), options)


def FreeMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    fairness: float = 0.01,
    unlabeled_weight: float = 1.0,
    momentum: float = 0.999,
    **options: Any,
) -> ConsistencyModel:
    """FixMatch with the mean confidence as level, scaled by class, and a fairness loss (Wang et al. 2023, arXiv
    2205.07246, eq. 5-12).

    The loss is FixMatch's with the level of `rules.FreeThreshold`, plus `fairness` times `Fairness`.

    Args:
        model: the model to train.
        weak, strong: the views.
        fairness: weight of the fairness loss; the paper's w_f.
        unlabeled_weight: w, >= 0; the paper's w_u.
        momentum: of the running averages; the paper's lambda.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.FreeMatch(model, weak=lambda x: x, strong=lambda x: -x).selector.rule
        FreeThreshold()
    """
    terms = [Fairness(fairness, momentum)] if fairness else []
    selector = Selector(rules.FreeThreshold(), momentum)
    return _made("FreeMatch", model, _fixmatch(selector, weak, strong, unlabeled_weight, terms), options)


def SoftMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    sigmas: float = 2.0,
    unlabeled_weight: float = 1.0,
    momentum: float = 0.999,
    **options: Any,
) -> ConsistencyModel:
    """Hard labels of all rows, weighed by a Gaussian of their confidence (Chen et al. 2023, arXiv 2301.10921).

    1/B sum_b H(y_b, p(x_b)) + w 1/N sum_n s(q'_n) H(argmax q_n, p(strong(u_n))), s by `rules.SoftWeight` (eq. 6-11).
    q' is q aligned to uniform classes. The paper averages variances of batches; here it is that of all confidences,
    from running averages of them and of their squares.

    Args:
        model: the model to train.
        weak, strong: the views.
        sigmas: standard deviations that the fall of the weight spans.
        unlabeled_weight: w, >= 0; the paper's lambda_max.
        momentum: of the running averages; the paper's m.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.SoftMatch(model, weak=lambda x: x, strong=lambda x: -x).selector.rule
        SoftWeight(sigmas=2.0)
    """
    labeller = Labeller(0.0, alignment=Alignment("uniform", momentum, labels=False))
    selector = Selector(rules.SoftWeight(sigmas), momentum)
    parts = (labeller, selector, Views(weak, strong), ConsistencyLoss(weight=unlabeled_weight))
    return _made("SoftMatch", model, parts, options)


def AdaMatch(
    model: keras.Model,
    weak: View | None = None,
    strong: View | None = None,
    *,
    threshold: float = 0.9,
    unlabeled_weight: float = 1.0,
    total_steps: int = 2**20,
    **options: Any,
) -> ConsistencyModel:
    """Aligned soft labels of rows surer than labeled ones, learned on strong views (Berthelot et al. 2022, arXiv
    2106.04732, eq. 1-4).

    1/B sum_b [H(y_b, p(weak(x_b))) + H(y_b, p(strong(x_b)))] + w(t) 1/N sum_n 1[max q_n >= threshold c] H(q_n,
    p(strong(u_n))), where q_n is p(weak(u_n)) times the labeled rows' mean prediction over the unlabeled ones', made to
    sum to 1, and c the mean confidence on labeled rows. Logits of labeled rows lie between two passes: see
    `Interpolated`.

    Args:
        model: the model to train.
        weak, strong: the views.
        threshold: least confidence, relative to labeled rows; the paper's tau.
        unlabeled_weight: w at the end.
        total_steps: of the training; w rises over half of them.
        **options: of `ConsistencyModel`.

    Example:
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
        >>> kas.AdaMatch(model, weak=lambda x: x, strong=lambda x: -x).selector.relative
        True
    """
    labeller = Labeller(alignment=Alignment("predictions", momentum=0.0))
    selector = Selector(rules.Threshold(threshold), relative=True)
    loss = ConsistencyLoss(weight=unlabeled_weight, ramp=Cosine(total_steps))
    return _made("AdaMatch", model, (labeller, selector, Interpolated(weak, strong), loss), options)


def _fixmatch(selector: Selector, weak: Any, strong: Any, weight: float, terms: Any = ()) -> tuple[Any, ...]:
    return Labeller(0.0), selector, Views(weak, strong), ConsistencyLoss(weight=weight, terms=terms)
