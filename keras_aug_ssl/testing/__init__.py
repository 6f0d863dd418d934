"""Public contracts: the laws our own classes are tested by, for the classes of a user too."""

from keras_aug_ssl.testing.attacks import ATTACK_LAWS as ATTACK_LAWS
from keras_aug_ssl.testing.attacks import check_attack as check_attack
from keras_aug_ssl.testing.consistency import CONSISTENCY_LAWS as CONSISTENCY_LAWS
from keras_aug_ssl.testing.consistency import check_consistency as check_consistency
from keras_aug_ssl.testing.keras_names import hidden_names as hidden_names
from keras_aug_ssl.testing.layers import LAYER_LAWS as LAYER_LAWS
from keras_aug_ssl.testing.layers import check_layer as check_layer
from keras_aug_ssl.testing.rules import RULE_LAWS as RULE_LAWS
from keras_aug_ssl.testing.rules import check_rule as check_rule
