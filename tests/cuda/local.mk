# SPDX-License-Identifier: Apache-2.0
# The CUDA kernels against the CPU: on the emulator in make check, and the same programs on a device, see tests/gpu.

CUDA_TEST_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/tests/cuda -I$(srcdir)/tests/unit/nn
CUDA_TEST_LIBS = sdk/nn/libnn.la sdk/nn/cuda/libnn_emulated.la $(CMOCKA_LIBS) $(SYSTEM_LIBS) -lm
CUDA_TEST_SUPPORT = tests/cuda/harness.c tests/cuda/harness.h tests/cuda/floats.c tests/cuda/floats.h $(NN_TEST_SUPPORT)
CUDA_TESTS_EMULATED = \
	tests/cuda/test_cuda_attention \
	tests/cuda/test_cuda_e2e \
	tests/cuda/test_cuda_elements \
	tests/cuda/test_cuda_linear \
	tests/cuda/test_cuda_rows \
	tests/cuda/test_cuda_sessions
if CUDA_TESTS
check_PROGRAMS += $(CUDA_TESTS_EMULATED)
endif
tests_cuda_test_cuda_attention_SOURCES = tests/cuda/test_cuda_attention.c $(CUDA_TEST_SUPPORT)
tests_cuda_test_cuda_attention_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_cuda_test_cuda_attention_LDADD = $(CUDA_TEST_LIBS)
tests_cuda_test_cuda_elements_SOURCES = tests/cuda/test_cuda_elements.c $(CUDA_TEST_SUPPORT)
tests_cuda_test_cuda_elements_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_cuda_test_cuda_elements_LDADD = $(CUDA_TEST_LIBS)
tests_cuda_test_cuda_linear_SOURCES = tests/cuda/test_cuda_linear.c $(NN_TEST_PROBLEM) $(CUDA_TEST_SUPPORT)
tests_cuda_test_cuda_linear_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_cuda_test_cuda_linear_LDADD = $(CUDA_TEST_LIBS)
tests_cuda_test_cuda_rows_SOURCES = tests/cuda/test_cuda_rows.c $(CUDA_TEST_SUPPORT)
tests_cuda_test_cuda_rows_CPPFLAGS = $(CUDA_TEST_CPPFLAGS)
tests_cuda_test_cuda_rows_LDADD = $(CUDA_TEST_LIBS)

# Whole assemblies, with plugins of tests/cudaemu/plugins.
tests_cuda_test_cuda_e2e_SOURCES = tests/cuda/test_cuda_e2e.c
tests_cuda_test_cuda_e2e_LDADD = core/lib/libllavamore.la $(JANSSON_LIBS) $(CMOCKA_LIBS) $(SYSTEM_LIBS)

tests_cuda_test_cuda_sessions_SOURCES = tests/cuda/test_cuda_sessions.c tests/parity/language.c tests/parity/language.h \
	$(parity_sources)
tests_cuda_test_cuda_sessions_LDADD = $(TEST_LIBS)

# Every backbone against its references.
dist_check_SCRIPTS += tests/cuda/parity

# Once more with threads and blocks in the opposite order, and with early copies: what depends on an order shows in one of
# them. And sessions of every language model, which take minutes on the emulator.
check-long:
	CUDAEMU_ORDER=backward $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(CUDA_TESTS_EMULATED)'
	CUDAEMU_COPIES=early $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(CUDA_TESTS_EMULATED)'
	LLAVAMORE_LONG=yes $(MAKE) $(AM_MAKEFLAGS) check TESTS=tests/cuda/parity
