# SPDX-License-Identifier: Apache-2.0
llmplugin_LTLIBRARIES += plugins/llm/llama/llama.la
plugins_llm_llama_llama_la_SOURCES = plugins/llm/llama/llama.c
plugins_llm_llama_llama_la_LDFLAGS = $(PLUGIN_LINK)
plugins_llm_llama_llama_la_LIBADD = $(PLUGIN_LIBS)
