# SPDX-License-Identifier: Apache-2.0
visionplugin_LTLIBRARIES += plugins/vision/clip/clip.la
plugins_vision_clip_clip_la_SOURCES = plugins/vision/clip/clip.c
plugins_vision_clip_clip_la_LDFLAGS = $(PLUGIN_LINK)
plugins_vision_clip_clip_la_LIBADD = $(PLUGIN_LIBS)
