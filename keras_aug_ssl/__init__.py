"""Augmentation, semi-supervised learning and adversarial learning for Keras 3 on TensorFlow, on one engine."""

# First, since its errors say what to install when the imports below can't work.
from keras_aug_ssl import backend as backend

# isort: split
from keras_aug_ssl import adversarial as adversarial
from keras_aug_ssl import consistency as consistency
from keras_aug_ssl import data as data
from keras_aug_ssl import layers as layers
from keras_aug_ssl import losses as losses
from keras_aug_ssl import plots as plots
from keras_aug_ssl import rules as rules
from keras_aug_ssl import testing as testing
from keras_aug_ssl.adversarial import APGD as APGD
from keras_aug_ssl.adversarial import BIM as BIM
from keras_aug_ssl.adversarial import DDN as DDN
from keras_aug_ssl.adversarial import FAB as FAB
from keras_aug_ssl.adversarial import FGSM as FGSM
from keras_aug_ssl.adversarial import FMN as FMN
from keras_aug_ssl.adversarial import PGD as PGD
from keras_aug_ssl.adversarial import AdversarialNoise as AdversarialNoise
from keras_aug_ssl.adversarial import AdversarialTraining as AdversarialTraining
from keras_aug_ssl.adversarial import AttackResult as AttackResult
from keras_aug_ssl.adversarial import AutoAttack as AutoAttack
from keras_aug_ssl.adversarial import Boundary as Boundary
from keras_aug_ssl.adversarial import CarliniWagner as CarliniWagner
from keras_aug_ssl.adversarial import DeepFool as DeepFool
from keras_aug_ssl.adversarial import GaussianNoise as GaussianNoise
from keras_aug_ssl.adversarial import HopSkipJump as HopSkipJump
from keras_aug_ssl.adversarial import MomentumFGSM as MomentumFGSM
from keras_aug_ssl.adversarial import RandomFGSM as RandomFGSM
from keras_aug_ssl.adversarial import RobustAccuracy as RobustAccuracy
from keras_aug_ssl.adversarial import RobustnessReport as RobustnessReport
from keras_aug_ssl.adversarial import SpatialAttack as SpatialAttack
from keras_aug_ssl.adversarial import Square as Square
from keras_aug_ssl.adversarial import UniversalPerturbation as UniversalPerturbation
from keras_aug_ssl.adversarial import certify as certify
from keras_aug_ssl.adversarial import evaluate_robustness as evaluate_robustness
from keras_aug_ssl.adversarial import fgsm as fgsm
from keras_aug_ssl.adversarial import input_gradient as input_gradient
from keras_aug_ssl.adversarial import robust as robust
from keras_aug_ssl.adversarial import saliency as saliency
from keras_aug_ssl.consistency import UDA as UDA
from keras_aug_ssl.consistency import VAT as VAT
from keras_aug_ssl.consistency import AdaMatch as AdaMatch
from keras_aug_ssl.consistency import ConsistencyModel as ConsistencyModel
from keras_aug_ssl.consistency import FixMatch as FixMatch
from keras_aug_ssl.consistency import FlexMatch as FlexMatch
from keras_aug_ssl.consistency import FreeMatch as FreeMatch
from keras_aug_ssl.consistency import MeanTeacher as MeanTeacher
from keras_aug_ssl.consistency import MixMatch as MixMatch
from keras_aug_ssl.consistency import PiModel as PiModel
from keras_aug_ssl.consistency import PseudoLabel as PseudoLabel
from keras_aug_ssl.consistency import SoftMatch as SoftMatch
from keras_aug_ssl.layers.engine.pipeline import Pipeline as Pipeline
from keras_aug_ssl.losses import AugMixLoss as AugMixLoss
from keras_aug_ssl.recipes import robust_self_training as robust_self_training
from keras_aug_ssl.self_training import SelfTrainer as SelfTrainer
from keras_aug_ssl.self_training import SelfTraining as SelfTraining
from keras_aug_ssl.self_training import UnlabeledPool as UnlabeledPool
from keras_aug_ssl.self_training import embed as embed
from keras_aug_ssl.self_training.labelling import calibration as calibration

__version__ = "0.1.0"
