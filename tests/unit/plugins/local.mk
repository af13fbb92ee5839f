# SPDX-License-Identifier: Apache-2.0
# The built plugins, through their .so files.

plugin_test_sources = tests/unit/plugins/folder.c tests/unit/plugins/folder.h tests/unit/plugins/opened.c \
	tests/unit/plugins/opened.h tests/parity/parity.c tests/parity/parity.h
check_PROGRAMS += tests/unit/plugins/test_bad_checkpoints tests/unit/plugins/test_plugins
tests_unit_plugins_test_bad_checkpoints_SOURCES = tests/unit/plugins/test_bad_checkpoints.c $(plugin_test_sources)
tests_unit_plugins_test_bad_checkpoints_LDADD = $(TEST_LIBS)
tests_unit_plugins_test_plugins_SOURCES = tests/unit/plugins/test_plugins.c $(plugin_test_sources)
tests_unit_plugins_test_plugins_LDADD = $(TEST_LIBS)
