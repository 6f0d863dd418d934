"""AugMix: several chains of operations on one image, and their mean with the image itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import tensorflow as tf

from keras_aug_ssl import checks, draws
from keras_aug_ssl.layers.engine.base import AugmentationLayer, Finish, Parameters, execute
from keras_aug_ssl.layers.engine.batch import Batch, Spec
from keras_aug_ssl.layers.engine.compiling import compiled
from keras_aug_ssl.layers.engine.warp import Factor
from keras_aug_ssl.layers.policies import COLOR, GEOMETRY, OPERATIONS, TONE, PolicyLayer, Severity

register = keras.saving.register_keras_serializable(package="keras_aug_ssl")


class _Chain(PolicyLayer):
    """One chain: between one operation and `depth` of them, each of a strength of its own."""

    def __init__(self, depth: int, factor: tuple[float, float], operations: Sequence[str], **kwargs: Any) -> None:
        super().__init__(Severity(shear=0.3, translate=1 / 3, degrees=30.0, enhance=0.9, bits=4), **kwargs)
        self.depth, self.factor = depth, factor
        self._places = [OPERATIONS.index(name) for name in operations]

    def chosen(self, spec: Spec, key: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        many, *rest = draws.uniforms(key, spec.batch_size, 1 + 3 * self.depth, spec.first)
        which, how, side = (tf.stack(rest[i::3], 1) for i in range(3))
        operation = tf.gather(self._places, draws.below(which, len(self._places)))
        within = tf.range(self.depth) <= draws.below(many, self.depth)[:, None]
        strength = tf.where(within, draws.between(how, *self.factor), 0.0)
        return operation, strength, tf.where(side < 0.5, -1.0, 1.0)


@register
class AugMix(AugmentationLayer):
    """Mixes each image with the mean of several chains of operations on it (Hendrycks et al. 2020).

    x' = m x + (1 - m) sum_k w_k chain_k(x), with w from Dirichlet(alpha) and m from Beta(alpha, alpha), chains, depths
    (1 to `chain_depth`) and weights drawn for each image. Operations and strengths are `RandAugment`'s, without
    Identity and with a shift of a third of the side at most. The paper trains on the clean image and two such views,
    with the Jensen-Shannon term of `kas.AugMixLoss`, and leaves out what its test corruptions resemble:
    `all_ops=False`.

    The chains move the image to different places, so nothing else can follow: masks, boxes and keypoints are an error.
    `keras.layers.AugMix` (3.15) draws one set of chains for a batch, and for a whole `tf.data` map.

    Parameters drawn: `chain_0`, ... as in `RandAugment`; `chain_weights` (B, num_chains); `weight` (B,), the m.

    Args:
        value_range: (black, white) of the images.
        num_chains: >= 1.
        chain_depth: operations in a chain at most, >= 1.
        factor: strength of each operation, drawn from (lower, upper) in [0, 1]; one number f: (0, f).
        alpha: > 0; larger mixes more evenly.
        all_ops: False leaves out brightness, color, contrast and sharpness.
        interpolation: `"bilinear"` or `"nearest"`.
        seed, data_format: as for `AugmentationLayer`.
        fill_mode, fill_value, **kwargs: as for `GeometricLayer`.

    Returns:
        When called: the structure of the inputs, every part in its dtype.

    Raises:
        ValueError: masks, boxes or keypoints among the inputs.

    Example:
        >>> augment = kas.layers.AugMix(seed=1)
        >>> np.unique(augment(np.full((2, 32, 32, 3), 0, "uint8"))).tolist()
        [0]
    """

    what = "mix chains"
    moves = True

    def __init__(
        self,
        value_range: tuple[float, float] = (0, 255),
        num_chains: int = 3,
        chain_depth: int = 3,
        factor: Factor = 0.3,
        alpha: float = 1.0,
        all_ops: bool = True,
        interpolation: str = "bilinear",
        seed: int | None = None,
        data_format: str | None = None,
        *,
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, data_format=data_format, **kwargs)
        self.num_chains = checks.integer("AugMix", "num_chains", num_chains, 1)
        self.chain_depth = checks.integer("AugMix", "chain_depth", chain_depth, 1)
        self.factor = checks.interval("AugMix", "factor", factor, 0.0, 1.0, start=0.0)
        self.alpha = checks.number("AugMix", "alpha", alpha, 0.0, low_open=True)
        self.all_ops = bool(all_ops)
        self.value_range: tuple[float, float] = checks.value_range("AugMix", value_range)
        operations = (*GEOMETRY, *TONE, *(("sharpness", *COLOR) if all_ops else ()))
        self._reading = {"interpolation": interpolation, "fill_mode": fill_mode, "fill_value": fill_value}
        self._chain = _Chain(self.chain_depth, self.factor, operations, value_range=value_range, **self._reading)

    def draw(self, spec: Spec, key: tf.Tensor) -> Parameters:
        *chain_keys, weight_key = draws.split(key, self.num_chains + 1)
        parameters = {f"chain_{k}": self._chain.draw(spec, chain_key) for k, chain_key in enumerate(chain_keys)}
        # Stick-breaking: of what is left, chain k takes Beta(alpha, alpha * chains behind it); the last one the rest.
        behind = tf.constant([*range(self.num_chains - 1, 0, -1), 1], tf.float32)
        unit = draws.uniform_array(weight_key, spec.batch_size, (self.num_chains,), spec.first)
        *shares, weight = tf.unstack(draws.beta(unit, self.alpha, self.alpha * behind), axis=1)
        weights, left = [], tf.ones_like(weight)
        for share in shares:
            weights.append(left * share)
            left = left - weights[-1]
        return {**parameters, "chain_weights": tf.stack([*weights, left], 1), "weight": weight}

    def keep(self, mask: tf.Tensor, parameters: Parameters) -> Parameters:
        return {**parameters, "weight": tf.where(mask, parameters["weight"], 1.0)}  # no share for any chain

    @classmethod
    def run(cls, steps: Sequence[tuple[Any, Parameters]], batch: Batch, finish: Finish, jit: bool) -> Batch:
        ((layer, parameters),) = steps
        for name in ("masks", "boxes", "keypoints"):
            if getattr(batch, name) is not None:
                advice = "The chains move it to different places. RandAugment and TrivialAugment take it along."
                checks.fail("AugMix", "inputs", f"without {name}", name, advice)
        chains = [
            execute(layer._chain.parts(parameters[f"chain_{k}"]), batch, jit).images for k in range(layer.num_chains)
        ]
        shares, weight = parameters["chain_weights"], parameters["weight"]
        return batch.replace(images=compiled(_mixed, jit, finish=finish)(batch.images, chains, shares, weight))

    def get_config(self) -> dict[str, Any]:
        names = ("value_range", "num_chains", "chain_depth", "factor", "alpha", "all_ops")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}, **self._reading}


def _mixed(image: tf.Tensor, views: list[tf.Tensor], shares: tf.Tensor, weight: tf.Tensor, finish: Finish) -> tf.Tensor:
    image = tf.cast(image, tf.float32)
    shares, weight = shares[:, :, None, None, None], weight[:, None, None, None]
    mean = tf.add_n([shares[:, k] * tf.cast(view, tf.float32) for k, view in enumerate(views)])
    return finish(image + (1.0 - weight) * (mean - image))
