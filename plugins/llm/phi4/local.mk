# SPDX-License-Identifier: Apache-2.0
llmplugin_LTLIBRARIES += plugins/llm/phi4/phi4.la
plugins_llm_phi4_phi4_la_SOURCES = plugins/llm/phi4/phi4.c
plugins_llm_phi4_phi4_la_LDFLAGS = $(PLUGIN_LINK)
plugins_llm_phi4_phi4_la_LIBADD = $(PLUGIN_LIBS)
