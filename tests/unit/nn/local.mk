# SPDX-License-Identifier: Apache-2.0

NN_TEST_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/sdk/nn -I$(srcdir)/tests/unit/nn
NN_TEST_SUPPORT = \
	tests/unit/nn/support.c \
	tests/unit/nn/support.h \
	tests/unit/nn/test_host.c \
	tests/unit/nn/test_host.h
NN_TEST_LIBS = $(NN_HOST_LIBS) $(CMOCKA_LIBS) -lm -lpthread

check_PROGRAMS += \
	tests/unit/nn/test_nn_amx \
	tests/unit/nn/test_nn_attention \
	tests/unit/nn/test_nn_bf16 \
	tests/unit/nn/test_nn_cache \
	tests/unit/nn/test_nn_elements \
	tests/unit/nn/test_nn_int8 \
	tests/unit/nn/test_nn_interpolate \
	tests/unit/nn/test_nn_linear \
	tests/unit/nn/test_nn_load \
	tests/unit/nn/test_nn_load_quantised \
	tests/unit/nn/test_nn_quantise

NN_TEST_PROBLEM = tests/unit/nn/problem.c tests/unit/nn/problem.h
NN_TEST_PAIRS = tests/unit/nn/pair_suite.c tests/unit/nn/pair_suite.h $(NN_TEST_PROBLEM)
tests_unit_nn_test_nn_amx_SOURCES = tests/unit/nn/test_nn_amx.c tests/unit/nn/plain_amx.c $(NN_TEST_PAIRS) \
	$(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_amx_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_amx_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_bf16_SOURCES = tests/unit/nn/test_nn_bf16.c tests/unit/nn/plain_bf16.c $(NN_TEST_PAIRS) \
	$(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_bf16_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_bf16_LDADD = $(NN_TEST_LIBS)

NN_TEST_SEQUENCE = tests/unit/nn/sequence.c tests/unit/nn/sequence.h
tests_unit_nn_test_nn_attention_SOURCES = tests/unit/nn/test_nn_attention.c $(NN_TEST_SEQUENCE) $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_attention_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_attention_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_cache_SOURCES = tests/unit/nn/test_nn_cache.c $(NN_TEST_SEQUENCE) $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_cache_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_cache_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_elements_SOURCES = tests/unit/nn/test_nn_elements.c $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_elements_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_elements_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_int8_SOURCES = tests/unit/nn/test_nn_int8.c tests/unit/nn/plain_int8.c tests/unit/nn/plain_tables.h \
	$(NN_TEST_PROBLEM) $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_int8_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_int8_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_interpolate_SOURCES = tests/unit/nn/test_nn_interpolate.c tests/unit/nn/resized.h \
	$(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_interpolate_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_interpolate_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_linear_SOURCES = tests/unit/nn/test_nn_linear.c $(NN_TEST_PROBLEM) $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_linear_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_linear_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_load_SOURCES = tests/unit/nn/test_nn_load.c $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_load_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_load_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_load_quantised_SOURCES = tests/unit/nn/test_nn_load_quantised.c $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_load_quantised_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_load_quantised_LDADD = $(NN_TEST_LIBS)

tests_unit_nn_test_nn_quantise_SOURCES = tests/unit/nn/test_nn_quantise.c $(NN_TEST_SUPPORT)
tests_unit_nn_test_nn_quantise_CPPFLAGS = $(NN_TEST_CPPFLAGS)
tests_unit_nn_test_nn_quantise_LDADD = $(NN_TEST_LIBS)
