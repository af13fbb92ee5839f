# SPDX-License-Identifier: Apache-2.0
# Measures the embedded models on held-out questions; share/tiny/recipe/README.md says how.

noinst_PROGRAMS += tests/accuracy/accuracy
tests_accuracy_accuracy_SOURCES = tests/accuracy/accuracy.c
tests_accuracy_accuracy_LDADD = core/lib/libllavamore.la $(JANSSON_LIBS) -lm
EXTRA_DIST += tests/accuracy/run
