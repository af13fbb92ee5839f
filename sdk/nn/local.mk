# SPDX-License-Identifier: Apache-2.0
#
# The kernel toolkit: one static archive of position-independent objects with hidden visibility, which plugins, the
# benchmark and the tests link. Each kernel variant is compiled with its own instruction set, and the table of the right
# one is picked at run time.

noinst_LTLIBRARIES += sdk/nn/libnn.la sdk/nn/libnn_baseline.la

NN_CPPFLAGS = $(AM_CPPFLAGS) -I$(srcdir)/sdk/nn
NN_CFLAGS = $(AM_CFLAGS) -fvisibility=hidden

sdk_nn_libnn_la_SOURCES = \
	sdk/nn/arena.c \
	sdk/nn/attention.c \
	sdk/nn/cache.c \
	sdk/nn/cache.h \
	sdk/nn/context.c \
	sdk/nn/elements.c \
	sdk/nn/half.h \
	sdk/nn/internal.h \
	sdk/nn/interpolate.c \
	sdk/nn/linear.c \
	sdk/nn/load.c \
	sdk/nn/matrix.c \
	sdk/nn/nn.h \
	sdk/nn/pack.h \
	sdk/nn/probe.c \
	sdk/nn/probe.h \
	sdk/nn/rotary.c \
	sdk/nn/source.c \
	sdk/nn/cpu/kernels.h \
	sdk/nn/cpu/probe.h \
	sdk/nn/cpu/product.h \
	sdk/nn/cpu/rows.h \
	sdk/nn/cpu/select.c \
	sdk/nn/cpu/table.h \
	sdk/nn/cpu/vec_avx2.h \
	sdk/nn/cpu/vec_avx512.h \
	sdk/nn/cpu/vec_baseline.h \
	sdk/nn/cpu/vec_math.h
sdk_nn_libnn_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_la_CFLAGS = $(NN_CFLAGS)
sdk_nn_libnn_la_LIBADD = sdk/nn/libnn_baseline.la -lm -lpthread

sdk_nn_libnn_baseline_la_SOURCES = sdk/nn/cpu/baseline.c
sdk_nn_libnn_baseline_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_baseline_la_CFLAGS = $(NN_CFLAGS)

if X86_64
noinst_LTLIBRARIES += sdk/nn/libnn_avx2.la sdk/nn/libnn_avx512.la
sdk_nn_libnn_la_LIBADD += sdk/nn/libnn_avx2.la sdk/nn/libnn_avx512.la

sdk_nn_libnn_avx2_la_SOURCES = sdk/nn/cpu/avx2.c
sdk_nn_libnn_avx2_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx2_la_CFLAGS = $(NN_CFLAGS) -mavx2 -mfma -mf16c

sdk_nn_libnn_avx512_la_SOURCES = sdk/nn/cpu/avx512.c
sdk_nn_libnn_avx512_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx512_la_CFLAGS = $(NN_CFLAGS) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c
endif
