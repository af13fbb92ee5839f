# SPDX-License-Identifier: Apache-2.0
# Against references that tests/oracle made.

parity_sources = tests/parity/parity.c tests/parity/parity.h
check_PROGRAMS += tests/parity/test_models
tests_parity_test_models_SOURCES = tests/parity/test_models.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_parity_test_models_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_sessions
tests_parity_test_sessions_SOURCES = tests/parity/test_sessions.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_parity_test_sessions_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_e2e
tests_parity_test_e2e_SOURCES = tests/parity/test_e2e.c $(parity_sources)
tests_parity_test_e2e_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/parity/data
check_PROGRAMS += tests/parity/test_pixels
tests_parity_test_pixels_SOURCES = tests/parity/test_pixels.c
tests_parity_test_pixels_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_tiny
tests_parity_test_tiny_SOURCES = tests/parity/test_tiny.c $(parity_sources)
tests_parity_test_tiny_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_longrope
tests_parity_test_longrope_SOURCES = tests/parity/test_longrope.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_parity_test_longrope_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_scales
tests_parity_test_scales_SOURCES = tests/parity/test_scales.c $(parity_sources)
tests_parity_test_scales_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_windows
tests_parity_test_windows_SOURCES = tests/parity/test_windows.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_parity_test_windows_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_gguf
tests_parity_test_gguf_SOURCES = tests/parity/test_gguf.c tests/parity/files.c tests/parity/files.h tests/parity/language.c tests/parity/language.h \
	tests/parity/tokens.c tests/parity/tokens.h $(parity_sources)
tests_parity_test_gguf_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_reuse
tests_parity_test_reuse_SOURCES = tests/parity/test_reuse.c tests/parity/assembled.c tests/parity/assembled.h
tests_parity_test_reuse_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_quantised
tests_parity_test_quantised_SOURCES = tests/parity/test_quantised.c tests/parity/files.c tests/parity/files.h \
	tests/parity/language.c tests/parity/language.h $(parity_sources)
tests_parity_test_quantised_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_features
tests_parity_test_features_SOURCES = tests/parity/test_features.c tests/parity/assembled.c tests/parity/assembled.h
tests_parity_test_features_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_quantise
tests_parity_test_quantise_SOURCES = tests/parity/test_quantise.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_parity_test_quantise_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_lookup
tests_parity_test_lookup_SOURCES = tests/parity/test_lookup.c tests/parity/assembled.c tests/parity/assembled.h
tests_parity_test_lookup_LDADD = $(TEST_LIBS)
