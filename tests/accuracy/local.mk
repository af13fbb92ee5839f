# SPDX-License-Identifier: Apache-2.0
# Measures the embedded models on held-out questions; share/tiny/recipe/README.md says how.

noinst_PROGRAMS += tests/accuracy/accuracy
tests_accuracy_accuracy_SOURCES = tests/accuracy/accuracy.c
tests_accuracy_accuracy_LDADD = core/lib/libllavamore.la $(JANSSON_LIBS) -lm
noinst_PROGRAMS += tests/accuracy/recast
tests_accuracy_recast_SOURCES = tests/accuracy/recast.c
tests_accuracy_recast_LDADD = $(JANSSON_LIBS)
dist_check_SCRIPTS += tests/accuracy/formats tests/accuracy/perplexity
EXTRA_DIST += tests/accuracy/run tests/accuracy/common.sh tests/accuracy/reference.py tests/accuracy/sample

# What rounding costs, with the kernels' own test support.
check_PROGRAMS += tests/accuracy/test_errors
tests_accuracy_test_errors_SOURCES = tests/accuracy/test_errors.c $(NN_TEST_SUPPORT)
tests_accuracy_test_errors_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/unit/nn -I$(srcdir)/core/cmd/llavamore-bench
tests_accuracy_test_errors_LDADD = $(NN_HOST_LIBS) $(CMOCKA_LIBS) -lm -lpthread
