# SPDX-License-Identifier: Apache-2.0
projectorplugin_LTLIBRARIES += plugins/projector/mlp/mlp.la
plugins_projector_mlp_mlp_la_SOURCES = plugins/projector/mlp/mlp.c
plugins_projector_mlp_mlp_la_LDFLAGS = $(PLUGIN_LINK)
plugins_projector_mlp_mlp_la_LIBADD = $(PLUGIN_LIBS)
