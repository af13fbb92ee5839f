# SPDX-License-Identifier: Apache-2.0
projectorplugin_LTLIBRARIES += plugins/projector/pixel_shuffle/pixel_shuffle.la
plugins_projector_pixel_shuffle_pixel_shuffle_la_SOURCES = plugins/projector/pixel_shuffle/pixel_shuffle.c
plugins_projector_pixel_shuffle_pixel_shuffle_la_LDFLAGS = $(PLUGIN_LINK)
plugins_projector_pixel_shuffle_pixel_shuffle_la_LIBADD = $(PLUGIN_LIBS)
