# SPDX-License-Identifier: Apache-2.0
# The emulator: a CUDA driver and cuBLAS on the CPU, for kernels that were compiled as C++. cudaemu.h is what kernels include.

EXTRA_LTLIBRARIES += tests/cudaemu/libcudaemu.la
tests_cudaemu_libcudaemu_la_SOURCES = \
	tests/cudaemu/async.cpp \
	tests/cudaemu/blas.cpp \
	tests/cudaemu/block.cpp \
	tests/cudaemu/cudaemu.h \
	tests/cudaemu/cudaemu_types.h \
	tests/cudaemu/driver.cpp \
	tests/cudaemu/emulator.h \
	tests/cudaemu/fault.cpp \
	tests/cudaemu/fibre.cpp \
	tests/cudaemu/memory.cpp \
	tests/cudaemu/report.cpp \
	tests/cudaemu/stream.cpp \
	tests/cudaemu/warp.cpp
# Loaded by its path, also by what is linked with it; never installed. -rpath makes libtool build it shared.
tests_cudaemu_libcudaemu_la_LDFLAGS = $(AM_LDFLAGS) -avoid-version -shared -rpath $(abs_builddir)/tests/cudaemu/.libs

EXTRA_DIST += tests/cudaemu/README.md

# That it is what it claims to be, and that it catches mistakes, with kernels full of them.
if CUDA_TESTS
check_PROGRAMS += tests/cudaemu/test_cudaemu tests/cudaemu/test_driver tests/cudaemu/test_language
endif
EMULATED_FILES += tests/cudaemu/language.cu tests/cudaemu/wrong.cu
CUDAEMU_TEST_LIBS = tests/cudaemu/libcudaemu.la $(CMOCKA_LIBS) $(SYSTEM_LIBS) -lm
tests_cudaemu_test_cudaemu_SOURCES = tests/cudaemu/test_cudaemu.c tests/cudaemu/driver.h tests/cudaemu/wrong.cu \
	tests/cudaemu/wrong.h
tests_cudaemu_test_cudaemu_LDADD = tests/cudaemu/wrong.emulated.lo $(CUDAEMU_TEST_LIBS)
tests_cudaemu_test_driver_SOURCES = tests/cudaemu/test_driver.c tests/cudaemu/device.c tests/cudaemu/device.h \
	tests/cudaemu/driver.h tests/cudaemu/language.h tests/cudaemu/wrong.h
tests_cudaemu_test_driver_LDADD = tests/cudaemu/language.emulated.lo tests/cudaemu/wrong.emulated.lo $(CUDAEMU_TEST_LIBS)
tests_cudaemu_test_language_SOURCES = tests/cudaemu/test_language.c tests/cudaemu/device.c tests/cudaemu/device.h \
	tests/cudaemu/driver.h tests/cudaemu/language.cu tests/cudaemu/language.h
tests_cudaemu_test_language_LDADD = tests/cudaemu/language.emulated.lo $(CUDAEMU_TEST_LIBS)

# Every plugin once more, with kernels for the emulator.
EMULATED_PLUGIN_LINK = $(PLUGIN_LINK) -rpath $(abs_builddir)/tests/cudaemu/plugins
EMULATED_PLUGIN_LIBS = sdk/nn/libnn.la sdk/nn/cuda/libnn_emulated.la -lm
EMULATED_PLUGINS = \
	tests/cudaemu/plugins/vision/clip/clip.la \
	tests/cudaemu/plugins/vision/dinov2/dinov2.la \
	tests/cudaemu/plugins/vision/siglip/siglip.la \
	tests/cudaemu/plugins/vision/siglip2/siglip2.la \
	tests/cudaemu/plugins/projector/identity/identity.la \
	tests/cudaemu/plugins/projector/mlp/mlp.la \
	tests/cudaemu/plugins/projector/pixel_shuffle/pixel_shuffle.la \
	tests/cudaemu/plugins/llm/gemma2/gemma2.la \
	tests/cudaemu/plugins/llm/llama/llama.la \
	tests/cudaemu/plugins/llm/phi4/phi4.la
if CUDA_TESTS
check_LTLIBRARIES += $(EMULATED_PLUGINS)
endif
tests_cudaemu_plugins_vision_clip_clip_la_SOURCES = $(plugins_vision_clip_clip_la_SOURCES)
tests_cudaemu_plugins_vision_clip_clip_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_vision_clip_clip_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_vision_dinov2_dinov2_la_SOURCES = $(plugins_vision_dinov2_dinov2_la_SOURCES)
tests_cudaemu_plugins_vision_dinov2_dinov2_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_vision_dinov2_dinov2_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_vision_siglip_siglip_la_SOURCES = $(plugins_vision_siglip_siglip_la_SOURCES)
tests_cudaemu_plugins_vision_siglip_siglip_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_vision_siglip_siglip_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_vision_siglip2_siglip2_la_SOURCES = $(plugins_vision_siglip2_siglip2_la_SOURCES)
tests_cudaemu_plugins_vision_siglip2_siglip2_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_vision_siglip2_siglip2_la_LIBADD = plugins/vision/siglip2/siglip2.emulated.lo \
	$(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_projector_identity_identity_la_SOURCES = $(plugins_projector_identity_identity_la_SOURCES)
tests_cudaemu_plugins_projector_identity_identity_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_projector_identity_identity_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_projector_mlp_mlp_la_SOURCES = $(plugins_projector_mlp_mlp_la_SOURCES)
tests_cudaemu_plugins_projector_mlp_mlp_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_projector_mlp_mlp_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_projector_pixel_shuffle_pixel_shuffle_la_SOURCES = $(plugins_projector_pixel_shuffle_pixel_shuffle_la_SOURCES)
tests_cudaemu_plugins_projector_pixel_shuffle_pixel_shuffle_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_projector_pixel_shuffle_pixel_shuffle_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_llm_gemma2_gemma2_la_SOURCES = $(plugins_llm_gemma2_gemma2_la_SOURCES)
tests_cudaemu_plugins_llm_gemma2_gemma2_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_llm_gemma2_gemma2_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_llm_llama_llama_la_SOURCES = $(plugins_llm_llama_llama_la_SOURCES)
tests_cudaemu_plugins_llm_llama_llama_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_llm_llama_llama_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
tests_cudaemu_plugins_llm_phi4_phi4_la_SOURCES = $(plugins_llm_phi4_phi4_la_SOURCES)
tests_cudaemu_plugins_llm_phi4_phi4_la_LDFLAGS = $(EMULATED_PLUGIN_LINK)
tests_cudaemu_plugins_llm_phi4_phi4_la_LIBADD = $(EMULATED_PLUGIN_LIBS)
