# SPDX-License-Identifier: Apache-2.0
visionplugin_LTLIBRARIES += plugins/vision/siglip2/siglip2.la
plugins_vision_siglip2_siglip2_la_SOURCES = plugins/vision/siglip2/siglip2.c plugins/vision/siglip2/siglip2.cu \
	plugins/vision/siglip2/siglip2.h plugins/vision/siglip2/siglip2_config.c plugins/vision/siglip2/siglip2_cuda.h
plugins_vision_siglip2_siglip2_la_LDFLAGS = $(PLUGIN_LINK)
plugins_vision_siglip2_siglip2_la_LIBADD = plugins/vision/siglip2/siglip2.$(KERNELS).lo $(PLUGIN_LIBS)
CUDA_FILES += plugins/vision/siglip2/siglip2.cu
