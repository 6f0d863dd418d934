"""The main job: one table from few labels to a robust model, on real images, with the same budget for every method."""

from keras_aug_ssl.study.budgets import BUDGETS as BUDGETS
from keras_aug_ssl.study.budgets import Budget as Budget
from keras_aug_ssl.study.methods import Method as Method
from keras_aug_ssl.study.results import Results as Results
from keras_aug_ssl.study.results import Round as Round
from keras_aug_ssl.study.results import Row as Row
from keras_aug_ssl.study.results import Settings as Settings
from keras_aug_ssl.study.run import run_study as run_study
from keras_aug_ssl.study.run import versions as versions
from keras_aug_ssl.study.tasks import Images as Images
from keras_aug_ssl.study.tasks import Task as Task
