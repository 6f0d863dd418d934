"""Learning from unlabeled rows inside the step: views of one row are to be answered alike."""

from keras_aug_ssl.consistency import ramps as ramps
from keras_aug_ssl.consistency.batches import Batch as Batch
from keras_aug_ssl.consistency.labelling import Alignment as Alignment
from keras_aug_ssl.consistency.labelling import Labeller as Labeller
from keras_aug_ssl.consistency.losses import ConsistencyLoss as ConsistencyLoss
from keras_aug_ssl.consistency.losses import EntropyMinimization as EntropyMinimization
from keras_aug_ssl.consistency.losses import Fairness as Fairness
from keras_aug_ssl.consistency.methods import FixMatch as FixMatch
from keras_aug_ssl.consistency.model import ConsistencyModel as ConsistencyModel
from keras_aug_ssl.consistency.selection import Selector as Selector
from keras_aug_ssl.consistency.views import Views as Views
