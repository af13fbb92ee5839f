# SPDX-License-Identifier: Apache-2.0
# Checkpoints: number formats, safetensors, folders and views, layouts.
made_sources = tests/unit/weights/made.c tests/unit/weights/made.h
check_PROGRAMS += tests/unit/weights/test_convert tests/unit/weights/test_safetensors \
	tests/unit/weights/test_checkpoint tests/unit/weights/test_layout tests/unit/weights/test_torch \
	tests/unit/weights/test_adapter
tests_unit_weights_test_convert_SOURCES = tests/unit/weights/test_convert.c
tests_unit_weights_test_convert_LDADD = $(TEST_LIBS)
tests_unit_weights_test_safetensors_SOURCES = tests/unit/weights/test_safetensors.c $(made_sources)
tests_unit_weights_test_safetensors_LDADD = $(TEST_LIBS)
tests_unit_weights_test_checkpoint_SOURCES = tests/unit/weights/test_checkpoint.c $(made_sources)
tests_unit_weights_test_checkpoint_LDADD = $(TEST_LIBS)
tests_unit_weights_test_layout_SOURCES = tests/unit/weights/test_layout.c $(made_sources)
tests_unit_weights_test_layout_LDADD = $(TEST_LIBS)
tests_unit_weights_test_torch_SOURCES = tests/unit/weights/test_torch.c $(made_sources)
tests_unit_weights_test_torch_LDADD = $(TEST_LIBS)
tests_unit_weights_test_adapter_SOURCES = tests/unit/weights/test_adapter.c $(made_sources)
tests_unit_weights_test_adapter_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/weights/test_gguf
tests_unit_weights_test_gguf_SOURCES = tests/unit/weights/test_gguf.c
tests_unit_weights_test_gguf_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/unit/weights/data
