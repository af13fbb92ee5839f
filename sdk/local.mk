# SPDX-License-Identifier: Apache-2.0
# The headers that plugin authors include, and the linker script that hides all but the entry.

sdkincludedir = $(includedir)/llavamore
dist_sdkinclude_HEADERS = \
	sdk/include/llavamore/backbone.h \
	sdk/include/llavamore/cuda.h \
	sdk/include/llavamore/functions.h \
	sdk/include/llavamore/host.h \
	sdk/include/llavamore/language.h \
	sdk/include/llavamore/plugin.h \
	sdk/include/llavamore/profile.h \
	sdk/include/llavamore/projector.h \
	sdk/include/llavamore/status.h \
	sdk/include/llavamore/tensor.h \
	sdk/include/llavamore/vision.h

dist_pkgdata_DATA = sdk/llavamore-plugin.map
EXTRA_DIST += sdk/examples/merge2x2
pkgconfig_DATA += sdk/llavamore-sdk.pc

include sdk/nn/local.mk
# What backbones share above the kernels: opening, loading by table, required config keys, sessions over caches.
sdk_nn_libnn_la_SOURCES += sdk/nn/loader.c sdk/nn/loader.h sdk/nn/options.c sdk/nn/options.h \
	sdk/nn/projector.c sdk/nn/projector.h sdk/nn/require.c sdk/nn/require.h \
	sdk/nn/sessions.c sdk/nn/sessions.h sdk/nn/decoder.c sdk/nn/decoder.h sdk/nn/decoder_config.c \
	sdk/nn/encoder.c sdk/nn/encoder_config.c sdk/nn/encoder_names.c sdk/nn/encoder.h
