"""Real data sets, splits into labeled and unlabeled parts, and the streams that feed training."""

from keras_aug_ssl.data.balancing import balanced as balanced
from keras_aug_ssl.data.datasets import Dataset as Dataset
from keras_aug_ssl.data.datasets import Split as Split
from keras_aug_ssl.data.datasets import load as load
from keras_aug_ssl.data.pseudo_labels import pseudo_labelled as pseudo_labelled
from keras_aug_ssl.data.splits import LabelSplit as LabelSplit
from keras_aug_ssl.data.splits import split_labels as split_labels
from keras_aug_ssl.data.streams import EpochCounter as EpochCounter
from keras_aug_ssl.data.streams import labeled_unlabeled as labeled_unlabeled
from keras_aug_ssl.data.synthesis import synthesize as synthesize
from keras_aug_ssl.data.synthesis import synthesize_regression as synthesize_regression
