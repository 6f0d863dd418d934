"""Self-training: a model labels examples that have no label and learns from those it is right about."""

from keras_aug_ssl import rules as rules
from keras_aug_ssl.self_training.callback import SelfTraining as SelfTraining
from keras_aug_ssl.self_training.embedding import embed as embed
from keras_aug_ssl.self_training.labelling import calibration as calibration
from keras_aug_ssl.self_training.pool.pool import UnlabeledPool as UnlabeledPool
from keras_aug_ssl.self_training.trainer import SelfTrainer as SelfTrainer
