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
	sdk/nn/linear_bf16.c \
	sdk/nn/linear_int8.c \
	sdk/nn/load.c \
	sdk/nn/matrix.c \
	sdk/nn/nn.h \
	sdk/nn/operators.c \
	sdk/nn/operators.h \
	sdk/nn/pack.c \
	sdk/nn/pack.h \
	sdk/nn/probe.c \
	sdk/nn/probe.h \
	sdk/nn/profile.c \
	sdk/nn/profile.h \
	sdk/nn/quantise.c \
	sdk/nn/quantise.h \
	sdk/nn/rotary.c \
	sdk/nn/source.c \
	sdk/nn/cpu/amx_product.h \
	sdk/nn/cpu/amx_tile.h \
	sdk/nn/cpu/attend.h \
	sdk/nn/cpu/bf16.h \
	sdk/nn/cpu/bf16_dot.h \
	sdk/nn/cpu/bf16_pack.h \
	sdk/nn/cpu/bf16_product.h \
	sdk/nn/cpu/bf16_unpack.h \
	sdk/nn/cpu/int8.h \
	sdk/nn/cpu/int8_avx2.h \
	sdk/nn/cpu/int8_avx512.h \
	sdk/nn/cpu/int8_plain.h \
	sdk/nn/cpu/int8_vnni.h \
	sdk/nn/cpu/int8_zmm.h \
	sdk/nn/cpu/kernels.h \
	sdk/nn/cpu/page.h \
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
NN_X86_64 = sdk/nn/libnn_avx2.la sdk/nn/libnn_avx512.la sdk/nn/libnn_avx512vnni.la sdk/nn/libnn_avx512bf16.la \
	sdk/nn/libnn_amx.la
noinst_LTLIBRARIES += $(NN_X86_64)
sdk_nn_libnn_la_LIBADD += $(NN_X86_64)

sdk_nn_libnn_avx2_la_SOURCES = sdk/nn/cpu/avx2.c
sdk_nn_libnn_avx2_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx2_la_CFLAGS = $(NN_CFLAGS) -mavx2 -mfma -mf16c

sdk_nn_libnn_avx512_la_SOURCES = sdk/nn/cpu/avx512.c
sdk_nn_libnn_avx512_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx512_la_CFLAGS = $(NN_CFLAGS) -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c

# gcc 12 orders the products of bytes better (10%) for this processor than for none in particular.
sdk_nn_libnn_avx512vnni_la_SOURCES = sdk/nn/cpu/avx512vnni.c
sdk_nn_libnn_avx512vnni_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx512vnni_la_CFLAGS = $(sdk_nn_libnn_avx512_la_CFLAGS) -mavx512vnni -mtune=icelake-server

sdk_nn_libnn_avx512bf16_la_SOURCES = sdk/nn/cpu/avx512bf16.c
sdk_nn_libnn_avx512bf16_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_avx512bf16_la_CFLAGS = $(sdk_nn_libnn_avx512vnni_la_CFLAGS) -mavx512bf16

sdk_nn_libnn_amx_la_SOURCES = sdk/nn/cpu/amx.c
sdk_nn_libnn_amx_la_CPPFLAGS = $(NN_CPPFLAGS)
sdk_nn_libnn_amx_la_CFLAGS = $(sdk_nn_libnn_avx512bf16_la_CFLAGS) -mamx-tile -mamx-bf16 -mamx-int8
endif

include sdk/nn/cuda/local.mk
