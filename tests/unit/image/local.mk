# SPDX-License-Identifier: Apache-2.0
# Image files, resampling, preprocessing steps.
check_PROGRAMS += tests/unit/image/test_decode tests/unit/image/test_steps
tests_unit_image_test_decode_SOURCES = tests/unit/image/test_decode.c
tests_unit_image_test_decode_LDADD = $(TEST_LIBS)
tests_unit_image_test_steps_SOURCES = tests/unit/image/test_steps.c
tests_unit_image_test_steps_LDADD = $(TEST_LIBS)
