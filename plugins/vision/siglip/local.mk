# SPDX-License-Identifier: Apache-2.0
visionplugin_LTLIBRARIES += plugins/vision/siglip/siglip.la
plugins_vision_siglip_siglip_la_SOURCES = plugins/vision/siglip/siglip.c
plugins_vision_siglip_siglip_la_LDFLAGS = $(PLUGIN_LINK)
plugins_vision_siglip_siglip_la_LIBADD = $(PLUGIN_LIBS)
