# SPDX-License-Identifier: Apache-2.0
llmplugin_LTLIBRARIES += plugins/llm/gemma2/gemma2.la
plugins_llm_gemma2_gemma2_la_SOURCES = plugins/llm/gemma2/gemma2.c
plugins_llm_gemma2_gemma2_la_LDFLAGS = $(PLUGIN_LINK)
plugins_llm_gemma2_gemma2_la_LIBADD = $(PLUGIN_LIBS)
