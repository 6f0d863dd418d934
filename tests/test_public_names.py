"""The public names, written down: what moves inside the package, they stay; what is new is added here on purpose."""

from __future__ import annotations

import operator
import types

import pytest

import keras_aug_ssl as kas

NAMES = {
    "adversarial": """
        APGD AdversarialNoise AdversarialTraining Attack AttackResult AutoAttack BIM Boundary CarliniWagner Certificate
        Curve DDN DeepFool FAB FGSM FMN Found GaussianNoise HopSkipJump MomentumFGSM PGD Problem RandomFGSM
        RobustAccuracy RobustnessReport SpatialAttack Square UniversalPerturbation certify evaluate_robustness fgsm
        input_gradient robust saliency""",
    "adversarial.training.methods": "Fast Free Ikl Mart Method Standard Trades Virtual",
    "calibration": "DryRun Reliability dry_run expected_calibration_error precision_interval reliability temperature",
    "consistency": """
        AdaMatch Alignment Batch ConsistencyLoss ConsistencyModel EntropyMinimization Fairness FixMatch FlexMatch
        FreeMatch Interpolated Labeller MeanTeacher MixMatch Mixed PiModel PseudoLabel Selector SoftMatch UDA VAT Views
        VirtualAdversarial unchanged""",
    "data": """
        Dataset EpochCounter LabelSplit Split balanced labeled_unlabeled load pseudo_labelled split_labels synthesize
        synthesize_regression""",
    "draws": """
        as_key below beta between fold_in fresh_seed hashed hashed_uniforms joint_seed key_at normal_array permutation
        seeds split uniform_array uniforms white_noise""",
    "layers": """
        AugMix AugmentationLayer AutoContrast BalancedMixUp CutMix Equalization MixUp MixingLayer Pipeline RandAugment
        RandomAffine RandomApply RandomBrightness RandomChoice RandomColorJitter RandomContrast RandomCrop
        RandomElasticTransform RandomErasing RandomFlip RandomGamma RandomGaussianBlur RandomGrayscale RandomHue
        RandomInvert RandomNoise RandomPerspective RandomPosterization RandomResizedCrop RandomRotation RandomSaturation
        RandomSharpness RandomShear RandomThinPlateSpline RandomTranslation RandomZoom Remix SameClassMix
        SimilarTargetMix Solarization Spec TrivialAugment strong_augmentation weak_augmentation""",
    "losses": "AugMixLoss augmented_views jensen_shannon",
    "rules": """
        Both Context Decided Entropy FlexThreshold FreeThreshold LowVariance Margin Prediction Rows Rule SoftWeight
        TargetPrecision Threshold TopFraction TopK Uncertainty""",
    "scale": "InProcess Ray Result Shards pseudo_label",
    "self_training": "SelfTrainer SelfTraining UnlabeledPool embed",
    "testing": """
        ATTACK_LAWS CONSISTENCY_LAWS LAYER_LAWS RULE_LAWS check_attack check_consistency check_layer check_rule
        hidden_names""",
}
AT_THE_TOP = """
    APGD AdaMatch AdversarialNoise AdversarialTraining AttackResult AugMixLoss AutoAttack BIM Boundary CarliniWagner
    ConsistencyModel DDN DeepFool FAB FGSM FMN FixMatch FlexMatch FreeMatch MeanTeacher MixMatch PiModel PseudoLabel
    SoftMatch UDA VAT GaussianNoise HopSkipJump MomentumFGSM PGD Pipeline RandomFGSM RobustAccuracy RobustnessReport
    SelfTrainer SelfTraining SpatialAttack Square UniversalPerturbation UnlabeledPool certify embed evaluate_robustness
    fgsm input_gradient report_versions robust robust_self_training saliency"""


def public(module: types.ModuleType) -> set[str]:
    """What a module offers: its `__all__`, or, without one, what it defines or takes from the rooms below it."""
    if hasattr(module, "__all__"):
        return set(module.__all__)
    ours = module.__name__ if module.__file__ and not module.__file__.endswith("__init__.py") else "keras_aug_ssl"
    named = {name: value for name, value in vars(module).items() if not name.startswith("_")}
    return {
        name
        for name, value in named.items()
        if not isinstance(value, types.ModuleType)
        and (getattr(value, "__module__", "") or "").startswith(ours)
        or name.endswith("_LAWS")
    }


@pytest.mark.parametrize("module", NAMES)
def test_public_names_of_modules(module):
    assert public(operator.attrgetter(module)(kas)) == set(NAMES[module].split())


def test_public_names_at_the_top():
    assert public(kas) == set(AT_THE_TOP.split())
    for name in AT_THE_TOP.split():
        assert getattr(kas, name).__doc__
