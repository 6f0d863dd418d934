"""Adversarial learning: attacks that find what is there to find, robustness measured, and training that survives it.

An attack composes a ball (`balls`), a step rule (`steps`) and an objective (`objectives`) around one loop (`loop`).
"""

from keras_aug_ssl.adversarial.attacks.apgd import APGD as APGD
from keras_aug_ssl.adversarial.attacks.autoattack import AutoAttack as AutoAttack
from keras_aug_ssl.adversarial.attacks.carlini_wagner import CarliniWagner as CarliniWagner
from keras_aug_ssl.adversarial.attacks.decision import Boundary as Boundary
from keras_aug_ssl.adversarial.attacks.decision import HopSkipJump as HopSkipJump
from keras_aug_ssl.adversarial.attacks.deepfool import DeepFool as DeepFool
from keras_aug_ssl.adversarial.attacks.fab import FAB as FAB
from keras_aug_ssl.adversarial.attacks.fixed_radius import BIM as BIM
from keras_aug_ssl.adversarial.attacks.fixed_radius import FGSM as FGSM
from keras_aug_ssl.adversarial.attacks.fixed_radius import PGD as PGD
from keras_aug_ssl.adversarial.attacks.fixed_radius import GaussianNoise as GaussianNoise
from keras_aug_ssl.adversarial.attacks.fixed_radius import MomentumFGSM as MomentumFGSM
from keras_aug_ssl.adversarial.attacks.fixed_radius import RandomFGSM as RandomFGSM
from keras_aug_ssl.adversarial.attacks.gradients import fgsm as fgsm
from keras_aug_ssl.adversarial.attacks.gradients import input_gradient as input_gradient
from keras_aug_ssl.adversarial.attacks.minimal import DDN as DDN
from keras_aug_ssl.adversarial.attacks.minimal import FMN as FMN
from keras_aug_ssl.adversarial.attacks.spatial import SpatialAttack as SpatialAttack
from keras_aug_ssl.adversarial.attacks.square import Square as Square
from keras_aug_ssl.adversarial.attacks.universal import UniversalPerturbation as UniversalPerturbation
from keras_aug_ssl.adversarial.evaluation.evaluation import evaluate_robustness as evaluate_robustness
from keras_aug_ssl.adversarial.evaluation.report import Curve as Curve
from keras_aug_ssl.adversarial.evaluation.report import RobustnessReport as RobustnessReport
from keras_aug_ssl.adversarial.evaluation.saliency import saliency as saliency
from keras_aug_ssl.adversarial.evaluation.smoothing import Certificate as Certificate
from keras_aug_ssl.adversarial.evaluation.smoothing import certify as certify
from keras_aug_ssl.adversarial.search.attack import Attack as Attack
from keras_aug_ssl.adversarial.search.problem import Found as Found
from keras_aug_ssl.adversarial.search.problem import Problem as Problem
from keras_aug_ssl.adversarial.search.results import AttackResult as AttackResult
from keras_aug_ssl.adversarial.training.consistency import robust as robust
from keras_aug_ssl.adversarial.training.layer import AdversarialNoise as AdversarialNoise
from keras_aug_ssl.adversarial.training.robust_accuracy import RobustAccuracy as RobustAccuracy
from keras_aug_ssl.adversarial.training.trainer import AdversarialTraining as AdversarialTraining
