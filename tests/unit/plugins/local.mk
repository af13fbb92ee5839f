# SPDX-License-Identifier: Apache-2.0
# The built plugins, through their .so files.

plugin_test_sources = tests/unit/plugins/folder.c tests/unit/plugins/folder.h tests/unit/plugins/opened.c \
	tests/unit/plugins/opened.h tests/parity/parity.c tests/parity/parity.h
check_PROGRAMS += tests/unit/plugins/test_bad_checkpoints tests/unit/plugins/test_plugins
tests_unit_plugins_test_bad_checkpoints_SOURCES = tests/unit/plugins/test_bad_checkpoints.c $(plugin_test_sources)
tests_unit_plugins_test_bad_checkpoints_LDADD = $(TEST_LIBS)
tests_unit_plugins_test_plugins_SOURCES = tests/unit/plugins/test_plugins.c $(plugin_test_sources)
tests_unit_plugins_test_plugins_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/plugins/test_dinov2 tests/unit/plugins/test_projectors
tests_unit_plugins_test_dinov2_SOURCES = tests/unit/plugins/test_dinov2.c tests/unit/plugins/folder.c \
	tests/unit/plugins/folder.h tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_dinov2_LDADD = $(TEST_LIBS)
tests_unit_plugins_test_projectors_SOURCES = tests/unit/plugins/test_projectors.c tests/unit/plugins/folder.c \
	tests/unit/plugins/folder.h tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_projectors_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/plugins/test_siglip
tests_unit_plugins_test_siglip_SOURCES = tests/unit/plugins/test_siglip.c tests/unit/plugins/folder.c \
	tests/unit/plugins/folder.h tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_siglip_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/plugins/test_phi4
tests_unit_plugins_test_phi4_SOURCES = tests/unit/plugins/test_phi4.c tests/unit/plugins/decoder.c \
	tests/unit/plugins/decoder.h tests/unit/plugins/folder.c tests/unit/plugins/folder.h tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_phi4_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/plugins/test_gemma2
tests_unit_plugins_test_gemma2_SOURCES = tests/unit/plugins/test_gemma2.c tests/unit/plugins/decoder.c \
	tests/unit/plugins/decoder.h tests/unit/plugins/folder.c tests/unit/plugins/folder.h tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_gemma2_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/plugins/test_load_memory
tests_unit_plugins_test_load_memory_SOURCES = tests/unit/plugins/test_load_memory.c tests/parity/parity.c tests/parity/parity.h
tests_unit_plugins_test_load_memory_LDADD = $(TEST_LIBS)
