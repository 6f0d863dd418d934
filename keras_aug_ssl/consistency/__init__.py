"""Learning from unlabeled rows inside the step: views of one row are to be answered alike.

* Start with a recipe, `kas.FixMatch(model, weak, strong)`; each is a setting of `ConsistencyModel`.
* Compile it as the model, `fit` it on `kas.data.labeled_unlabeled((x, y), pool)`, and go on with the model.
* Parts to change: who labels (`Labeller`), which labels count (a rule, or `Selector`), what is seen (`Views`), what is
  learned (`ConsistencyLoss`).
* A method of one's own is kept to the papers' laws by `kas.testing.check_consistency`.
"""

from keras_aug_ssl.consistency import ramps as ramps
from keras_aug_ssl.consistency.batches import Batch as Batch
from keras_aug_ssl.consistency.interpolated import Interpolated as Interpolated
from keras_aug_ssl.consistency.labelling import Alignment as Alignment
from keras_aug_ssl.consistency.labelling import Labeller as Labeller
from keras_aug_ssl.consistency.losses import ConsistencyLoss as ConsistencyLoss
from keras_aug_ssl.consistency.losses import EntropyMinimization as EntropyMinimization
from keras_aug_ssl.consistency.losses import Fairness as Fairness
from keras_aug_ssl.consistency.methods import UDA as UDA
from keras_aug_ssl.consistency.methods import VAT as VAT
from keras_aug_ssl.consistency.methods import AdaMatch as AdaMatch
from keras_aug_ssl.consistency.methods import FixMatch as FixMatch
from keras_aug_ssl.consistency.methods import FlexMatch as FlexMatch
from keras_aug_ssl.consistency.methods import FreeMatch as FreeMatch
from keras_aug_ssl.consistency.methods import MeanTeacher as MeanTeacher
from keras_aug_ssl.consistency.methods import MixMatch as MixMatch
from keras_aug_ssl.consistency.methods import PiModel as PiModel
from keras_aug_ssl.consistency.methods import PseudoLabel as PseudoLabel
from keras_aug_ssl.consistency.methods import SoftMatch as SoftMatch
from keras_aug_ssl.consistency.mixed import Mixed as Mixed
from keras_aug_ssl.consistency.model import ConsistencyModel as ConsistencyModel
from keras_aug_ssl.consistency.selection import Selector as Selector
from keras_aug_ssl.consistency.views import Views as Views
from keras_aug_ssl.consistency.views import unchanged as unchanged
from keras_aug_ssl.consistency.virtual import VirtualAdversarial as VirtualAdversarial
