# SPDX-License-Identifier: Apache-2.0
visionplugin_LTLIBRARIES += plugins/vision/dinov2/dinov2.la
plugins_vision_dinov2_dinov2_la_SOURCES = plugins/vision/dinov2/dinov2.c
plugins_vision_dinov2_dinov2_la_LDFLAGS = $(PLUGIN_LINK)
plugins_vision_dinov2_dinov2_la_LIBADD = $(PLUGIN_LIBS)
