"""Adversarial learning: attacks that find what is there to find, robustness measured, and training that survives it.

An attack composes a ball (`balls`), a step rule (`steps`) and an objective (`objectives`) around one loop (`loop`).
"""

from keras_aug_ssl.adversarial.apgd import APGD as APGD
from keras_aug_ssl.adversarial.attacks import BIM as BIM
from keras_aug_ssl.adversarial.attacks import FGSM as FGSM
from keras_aug_ssl.adversarial.attacks import PGD as PGD
from keras_aug_ssl.adversarial.attacks import GaussianNoise as GaussianNoise
from keras_aug_ssl.adversarial.attacks import MomentumFGSM as MomentumFGSM
from keras_aug_ssl.adversarial.attacks import RandomFGSM as RandomFGSM
from keras_aug_ssl.adversarial.base import Attack as Attack
from keras_aug_ssl.adversarial.carlini_wagner import CarliniWagner as CarliniWagner
from keras_aug_ssl.adversarial.decision import Boundary as Boundary
from keras_aug_ssl.adversarial.decision import HopSkipJump as HopSkipJump
from keras_aug_ssl.adversarial.deepfool import DeepFool as DeepFool
from keras_aug_ssl.adversarial.ensemble import AutoAttack as AutoAttack
from keras_aug_ssl.adversarial.evaluation import evaluate_robustness as evaluate_robustness
from keras_aug_ssl.adversarial.fab import FAB as FAB
from keras_aug_ssl.adversarial.gradients import fgsm as fgsm
from keras_aug_ssl.adversarial.gradients import input_gradient as input_gradient
from keras_aug_ssl.adversarial.minimal import DDN as DDN
from keras_aug_ssl.adversarial.minimal import FMN as FMN
from keras_aug_ssl.adversarial.report import Curve as Curve
from keras_aug_ssl.adversarial.report import RobustnessReport as RobustnessReport
from keras_aug_ssl.adversarial.results import AttackResult as AttackResult
from keras_aug_ssl.adversarial.smoothing import Certificate as Certificate
from keras_aug_ssl.adversarial.smoothing import certify as certify
from keras_aug_ssl.adversarial.spatial import SpatialAttack as SpatialAttack
from keras_aug_ssl.adversarial.square import Square as Square
from keras_aug_ssl.adversarial.training import AdversarialTraining as AdversarialTraining
from keras_aug_ssl.adversarial.universal import UniversalPerturbation as UniversalPerturbation
