"""Adversarial learning: attacks that find what is there to find, robustness measured, and training that survives it.

An attack composes a ball (`balls`), a step rule (`steps`) and an objective (`objectives`) around one loop (`loop`).
"""

from keras_aug_ssl.adversarial.attacks import BIM as BIM
from keras_aug_ssl.adversarial.attacks import FGSM as FGSM
from keras_aug_ssl.adversarial.attacks import PGD as PGD
from keras_aug_ssl.adversarial.attacks import GaussianNoise as GaussianNoise
from keras_aug_ssl.adversarial.attacks import MomentumFGSM as MomentumFGSM
from keras_aug_ssl.adversarial.attacks import RandomFGSM as RandomFGSM
from keras_aug_ssl.adversarial.base import Attack as Attack
from keras_aug_ssl.adversarial.gradients import fgsm as fgsm
from keras_aug_ssl.adversarial.gradients import input_gradient as input_gradient
from keras_aug_ssl.adversarial.results import AttackResult as AttackResult
from keras_aug_ssl.adversarial.training import AdversarialTraining as AdversarialTraining
