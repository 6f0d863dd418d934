"""Selection rules: from a model's predictions to weights in [0, 1] for the rows of a pool.

* Call a rule on probabilities to see what it selects: `rules.Threshold(0.9)(probabilities)`.
* A row of several labels is as sure as the least sure of them; `Decided` takes rows with some labels left open.
* Numbers have no confidence: `LowVariance` and `Uncertainty` go by how far several predictions spread.
* Join rules with `&`; the weights are multiplied.
* A rule of one's own: any function from (N, K) probabilities to (N,) weights, or a subclass of `Rule` for pools larger
  than memory.

Example:
    >>> import keras_aug_ssl as kas
    >>> rule = kas.rules.TopK(100) & kas.rules.Threshold(0.8)
    >>> rule
    TopK(k=100, per_class=True) & Threshold(confidence=0.8)
"""

from keras_aug_ssl.rules.adaptive import FlexThreshold as FlexThreshold
from keras_aug_ssl.rules.adaptive import FreeThreshold as FreeThreshold
from keras_aug_ssl.rules.adaptive import SoftWeight as SoftWeight
from keras_aug_ssl.rules.base import Both as Both
from keras_aug_ssl.rules.base import Context as Context
from keras_aug_ssl.rules.base import Prediction as Prediction
from keras_aug_ssl.rules.base import Rows as Rows
from keras_aug_ssl.rules.base import Rule as Rule
from keras_aug_ssl.rules.decided import Decided as Decided
from keras_aug_ssl.rules.fixed import Entropy as Entropy
from keras_aug_ssl.rules.fixed import Margin as Margin
from keras_aug_ssl.rules.fixed import Threshold as Threshold
from keras_aug_ssl.rules.precision import TargetPrecision as TargetPrecision
from keras_aug_ssl.rules.ranked import TopFraction as TopFraction
from keras_aug_ssl.rules.ranked import TopK as TopK
from keras_aug_ssl.rules.uncertain import LowVariance as LowVariance
from keras_aug_ssl.rules.uncertain import Uncertainty as Uncertainty
