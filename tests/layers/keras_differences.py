"""Keras's own tests of its image layers that ours don't pass in their place, and why: data for the test beside it."""

from __future__ import annotations

# A test that calls, or replaces, a method by which Keras's layers are built, or reads the words of an error.
INTERNALS = {
    "cut_mix_test.py": ["test_cut_mix_basic"],
    "mix_up_test.py": [
        "test_mix_up_basic_functionality",
        "test_mix_up_basic_functionality_channel_first",
        "test_mix_up_bounding_boxes",
        "test_mix_up_tf_data_bounding_boxes",
    ],
    "rand_augment_test.py": ["test_graph_issue"],
    "random_brightness_test.py": [
        "test_factor_range_above_upper_bound",
        "test_factor_range_below_lower_bound",
        "test_randomly_adjust_brightness_input_incorrect_rank",
        "test_set_factor_incorrect_length",
        "test_set_factor_incorrect_type",
        "test_value_range_incorrect_length",
        "test_value_range_incorrect_type",
    ],
    "random_contrast_test.py": [
        "test_random_contrast_with_value_range_0_to_1",
        "test_random_contrast_with_value_range_0_to_255",
    ],
    "random_elastic_transform_test.py": ["test_random_elastic_transform_basic"],
    "random_erasing_test.py": ["test_random_erasing_basic"],
    "random_flip_test.py": [
        "test_random_flip_bounding_boxes_with_horizontal",
        "test_random_flip_bounding_boxes_with_horizontal_and_vertical",
        "test_random_flip_bounding_boxes_with_vertical",
        "test_random_flip_horizontal",
        "test_random_flip_tf_data_bounding_boxes_with_horizontal",
        "test_random_flip_tf_data_bounding_boxes_with_horizontal_and_vertical",
        "test_random_flip_tf_data_bounding_boxes_with_vertical",
        "test_random_flip_vertical",
    ],
    "random_gaussian_blur_test.py": ["test_random_erasing_basic"],
    "random_perspective_test.py": [
        "test_random_flip_tf_data_bounding_boxes_with_large_scale",
        "test_random_flip_tf_data_bounding_boxes_with_small_scale",
        "test_random_perspective_basic",
        "test_random_perspective_bounding_boxes_with_large_scale",
        "test_random_perspective_bounding_boxes_with_small_scale",
    ],
    "random_shear_test.py": [
        "test_random_shear_bounding_boxes_with_x_shift",
        "test_random_shear_bounding_boxes_with_xy_shift",
        "test_random_shear_bounding_boxes_with_y_shift",
        "test_random_shear_tf_data_bounding_boxes_with_x_shift",
        "test_random_shear_tf_data_bounding_boxes_with_xy_shift",
        "test_random_shear_tf_data_bounding_boxes_with_y_shift",
    ],
    "random_translation_test.py": [
        "test_random_flip_bounding_boxes_with_negative_shift",
        "test_random_flip_bounding_boxes_with_positive_shift",
        "test_random_flip_tf_data_bounding_boxes_with_negative_shift",
        "test_random_flip_tf_data_bounding_boxes_with_positive_shift",
    ],
    "random_zoom_test.py": [
        "test_random_flip_bounding_boxes_with_zoom_in",
        "test_random_flip_bounding_boxes_with_zoom_out",
        "test_random_flip_tf_data_bounding_boxes_with_zoom_in",
        "test_random_flip_tf_data_bounding_boxes_with_zoom_out",
    ],
}

OUT_OF_RANGE = "images outside `value_range` are an error"
ROUNDED = "what comes in as integers leaves as integers, rounded"

# A difference on purpose: the test, and a phrase of the docstring (of the class, or of its base) that says so.
DOCUMENTED = {
    ("auto_contrast_test.py", "test_layer"): ("AutoContrast", OUT_OF_RANGE),
    ("random_brightness_test.py", "test_layer"): ("RandomBrightness", OUT_OF_RANGE),
    ("random_color_jitter_test.py", "test_layer"): ("RandomColorJitter", OUT_OF_RANGE),
    ("random_hue_test.py", "test_layer"): ("RandomHue", OUT_OF_RANGE),
    ("random_invert_test.py", "test_layer"): ("RandomInvert", OUT_OF_RANGE),
    ("random_posterization_test.py", "test_layer"): ("RandomPosterization", OUT_OF_RANGE),
    ("solarization_test.py", "test_layer"): ("Solarization", OUT_OF_RANGE),
    ("random_zoom_test.py", "test_random_zoom_in_correctness"): ("RandomZoom", ROUNDED),
    ("random_zoom_test.py", "test_random_zoom_out_correctness"): ("RandomZoom", ROUNDED),
    ("equalization_test.py", "test_equalizes_to_all_bins"): ("Equalization", "floats are interpolated between them"),
    ("equalization_test.py", "test_input_dtypes_float32"): ("Equalization", "floats are interpolated between them"),
    ("random_color_jitter_test.py", "test_contrast_only"): ("RandomColorJitter", "with its seed draws what the layers"),
    ("random_color_jitter_test.py", "test_hue_only"): ("RandomColorJitter", "with its seed draws what the layers"),
    ("random_crop_test.py", "test_dict_input"): ("RandomCrop", "boxes and keypoints have the batch axis of the images"),
    ("random_saturation_test.py", "test_random_saturation_full_saturation"): (
        "RandomSaturation",
        "scales HSV's saturation instead",
    ),
    ("random_shear_test.py", "test_shear_pixel_level"): ("RandomShear", "slants about the top left corner"),
    ("random_translation_test.py", "test_random_translation_with_bad_factor_bad_type"): (
        "RandomTranslation",
        "a wrong kind of argument is a `TypeError`",
    ),
}
