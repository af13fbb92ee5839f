# SPDX-License-Identifier: Apache-2.0
# It asks the library's inner parts, so it links the archive of all of them.

bin_PROGRAMS += core/cmd/llavamore-inspect/llavamore-inspect
core_cmd_llavamore_inspect_llavamore_inspect_SOURCES = \
	core/cmd/print.c core/cmd/print.h core/cmd/program.c core/cmd/program.h \
	core/cmd/llavamore-inspect/checkpoint.c \
	core/cmd/llavamore-inspect/inspect.c core/cmd/llavamore-inspect/inspect.h \
	core/cmd/llavamore-inspect/main.c \
	core/cmd/llavamore-inspect/names.c \
	core/cmd/llavamore-inspect/parts.c \
	core/cmd/llavamore-inspect/preview.c \
	core/cmd/llavamore-inspect/texts.c
core_cmd_llavamore_inspect_llavamore_inspect_LDADD = core/lib/libllavamore-internal.la $(CORE_LIBS)
