# SPDX-License-Identifier: Apache-2.0
# Plugins that the loader's test finds, refuses and compares. -rpath makes libtool build them shared.
BASE_TEST_PLUGINS = tests/unit/base/bad_option.la tests/unit/base/better.la tests/unit/base/declines.la \
	tests/unit/base/good.la tests/unit/base/no_entry.la tests/unit/base/null_id.la tests/unit/base/other_abi.la \
	tests/unit/base/silent.la tests/unit/base/unfit.la
BASE_TEST_PLUGIN_LINK = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
check_LTLIBRARIES += $(BASE_TEST_PLUGINS)
tests_unit_base_bad_option_la_SOURCES = tests/unit/base/plugins/bad_option.c tests/unit/base/plugins/functions_plugin.h
tests_unit_base_bad_option_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_better_la_SOURCES = tests/unit/base/plugins/better.c
tests_unit_base_better_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_declines_la_SOURCES = tests/unit/base/plugins/declines.c
tests_unit_base_declines_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_good_la_SOURCES = tests/unit/base/plugins/good.c
tests_unit_base_good_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_no_entry_la_SOURCES = tests/unit/base/plugins/no_entry.c
tests_unit_base_no_entry_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_null_id_la_SOURCES = tests/unit/base/plugins/null_id.c
tests_unit_base_null_id_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_other_abi_la_SOURCES = tests/unit/base/plugins/other_abi.c
tests_unit_base_other_abi_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_silent_la_SOURCES = tests/unit/base/plugins/silent.c
tests_unit_base_silent_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)
tests_unit_base_unfit_la_SOURCES = tests/unit/base/plugins/unfit.c
tests_unit_base_unfit_la_LDFLAGS = $(BASE_TEST_PLUGIN_LINK)

check_PROGRAMS += tests/unit/base/test_base tests/unit/base/test_call tests/unit/base/test_config \
	tests/unit/base/test_loader tests/unit/base/test_options tests/unit/base/test_threads
tests_unit_base_test_base_SOURCES = tests/unit/base/test_base.c
tests_unit_base_test_base_LDADD = $(TEST_LIBS)
tests_unit_base_test_call_SOURCES = tests/unit/base/test_call.c
tests_unit_base_test_call_LDADD = $(TEST_LIBS)
tests_unit_base_test_config_SOURCES = tests/unit/base/test_config.c
tests_unit_base_test_config_LDADD = $(TEST_LIBS)
tests_unit_base_test_loader_SOURCES = tests/unit/base/test_loader.c
tests_unit_base_test_loader_LDADD = $(TEST_LIBS)
tests_unit_base_test_options_SOURCES = tests/unit/base/test_options.c
tests_unit_base_test_options_LDADD = $(TEST_LIBS)
tests_unit_base_test_threads_SOURCES = tests/unit/base/test_threads.c
tests_unit_base_test_threads_LDADD = $(TEST_LIBS)
