# SPDX-License-Identifier: Apache-2.0
# The programs as users meet them.

dist_check_SCRIPTS += tests/cli/bench tests/cli/devices tests/cli/run tests/cli/parts tests/cli/folders tests/cli/reuse tests/cli/strangers
EXTRA_DIST += tests/cli/cases.sh
check_LTLIBRARIES += tests/cli/slow.la tests/cli/future.la tests/cli/stranger.la
tests_cli_slow_la_SOURCES = tests/cli/slow.c
tests_cli_slow_la_LDFLAGS = $(PLUGIN_LINK) -rpath /nowhere
tests_cli_future_la_SOURCES = tests/cli/future.c
tests_cli_future_la_LDFLAGS = $(PLUGIN_LINK) -rpath /nowhere
tests_cli_stranger_la_SOURCES = tests/cli/stranger.c
tests_cli_stranger_la_LDFLAGS = $(AM_LDFLAGS) -module -avoid-version -shared -rpath /nowhere
noinst_PROGRAMS += tests/cli/relabel
tests_cli_relabel_SOURCES = tests/cli/relabel.c
tests_cli_relabel_LDADD = core/lib/libllavamore-internal.la $(CORE_LIBS)
noinst_PROGRAMS += tests/cli/json
tests_cli_json_SOURCES = tests/cli/json.c
tests_cli_json_LDADD = core/lib/libllavamore-internal.la $(CORE_LIBS)
