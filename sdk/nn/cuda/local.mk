# SPDX-License-Identifier: Apache-2.0
#
# CUDA. A source x.cu becomes x.cuda.lo by nvcc, x.emulated.lo by the C++ compiler for tests/cudaemu, and x.none.lo, which
# is empty; KERNELS is the one of the three that configure chose for the plugins.

# The device behind the operators of nn.h.
sdk_nn_libnn_la_SOURCES += \
	sdk/nn/cuda/blas.c \
	sdk/nn/cuda/cuda.h \
	sdk/nn/cuda/device.c \
	sdk/nn/cuda/kernels.h \
	sdk/nn/cuda/operators.c

NN_CUDA_FILES = \
	sdk/nn/cuda/attention_decode.cu \
	sdk/nn/cuda/attention_exact.cu \
	sdk/nn/cuda/attention_full.cu \
	sdk/nn/cuda/attention_prefill.cu \
	sdk/nn/cuda/cache.cu \
	sdk/nn/cuda/elements.cu \
	sdk/nn/cuda/embed.cu \
	sdk/nn/cuda/gemm.cu \
	sdk/nn/cuda/gemm_plain.cu \
	sdk/nn/cuda/gemv.cu \
	sdk/nn/cuda/narrow.cu \
	sdk/nn/cuda/norms.cu \
	sdk/nn/cuda/rotary.cu \
	sdk/nn/cuda/table.cu
CUDA_FILES += $(NN_CUDA_FILES)

# The kernels of the toolkit, in three libraries of which one is linked with libnn.la.
EXTRA_LTLIBRARIES += sdk/nn/cuda/libnn_cuda.la sdk/nn/cuda/libnn_emulated.la sdk/nn/cuda/libnn_none.la
sdk_nn_cuda_libnn_cuda_la_SOURCES = $(NN_CUDA_FILES) \
	sdk/nn/cuda/activation.cuh \
	sdk/nn/cuda/attention.cuh \
	sdk/nn/cuda/attention_decode.cuh \
	sdk/nn/cuda/attention_page.cuh \
	sdk/nn/cuda/attention_tile.cuh \
	sdk/nn/cuda/device.cuh \
	sdk/nn/cuda/launchers.h \
	sdk/nn/cuda/linear.cuh \
	sdk/nn/cuda/mma.cuh \
	sdk/nn/cuda/pieces.cuh
sdk_nn_cuda_libnn_cuda_la_LIBADD = $(NN_CUDA_FILES:.cu=.cuda.lo) $(CUDART_LIBS)
sdk_nn_cuda_libnn_emulated_la_SOURCES =
sdk_nn_cuda_libnn_emulated_la_LIBADD = $(NN_CUDA_FILES:.cu=.emulated.lo) tests/cudaemu/libcudaemu.la
sdk_nn_cuda_libnn_none_la_SOURCES = sdk/nn/cuda/none.c
sdk_nn_cuda_libnn_none_la_CPPFLAGS = $(NN_CPPFLAGS)

CUDA_CPPFLAGS = -I$(srcdir)/sdk/include -I$(srcdir)/sdk/nn
CUDA_COMPILE = $(NVCC) $(CUDA_CPPFLAGS) -DNN_CUDA_COMPILED='"$(CUDA_ARCHS)"' $(AM_NVCCFLAGS) $(NVCC_ARCHS) $(NVCCFLAGS)
# nvcc knows no aliasing by type. The checks stop a kernel with SIGILL, which the emulator explains; they need no library.
EMULATED_CXXFLAGS = -fno-strict-aliasing -Wno-unknown-pragmas -fsanitize-undefined-trap-on-error \
	-fsanitize=alignment,bounds,integer-divide-by-zero,shift,signed-integer-overflow
EMULATED_COMPILE = $(CXX) -x c++ -DLLAVAMORE_CUDA_EMULATED -DNN_CUDA_COMPILED='"emulator"' -I$(srcdir)/tests/cudaemu \
	$(CUDA_CPPFLAGS) $(AM_CXXFLAGS) $(EMULATED_CXXFLAGS) $(CXXFLAGS)
CUDA_LIBTOOL = $(LIBTOOL) $(AM_V_lt) $(AM_LIBTOOLFLAGS) $(LIBTOOLFLAGS) --mode=compile
CUDA_DEPENDS = -MD -MP -MF $(@:.lo=.d) -MT $@

# nvcc knows no -fPIC: it is among the options for its host compiler, and libtool is to add none.
%.cuda.lo: %.cu
	@$(MKDIR_P) $(@D)
	$(AM_V_GEN)$(CUDA_LIBTOOL) --tag=CC $(CUDA_COMPILE) -prefer-non-pic $(CUDA_DEPENDS) -c -o $@ $<
%.emulated.lo: %.cu
	@$(MKDIR_P) $(@D)
	$(AM_V_CXX)$(CUDA_LIBTOOL) --tag=CXX $(EMULATED_COMPILE) $(CUDA_DEPENDS) -c -o $@ $<
%.none.lo: %.cu
	@$(MKDIR_P) $(@D)
	$(AM_V_CC)$(CUDA_LIBTOOL) --tag=CC $(CC) $(CFLAGS) -x c -c -o $@ /dev/null

CUDA_OBJECTS = $(CUDA_FILES:.cu=.cuda.lo) $(EMULATED_FILES:.cu=.emulated.lo)
CUDA_DEPS = $(CUDA_OBJECTS:.lo=.d)
CLEANFILES += $(CUDA_OBJECTS) $(CUDA_FILES:.cu=.none.lo) $(CUDA_DEPS)
