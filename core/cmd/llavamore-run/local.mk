# SPDX-License-Identifier: Apache-2.0

bin_PROGRAMS += core/cmd/llavamore-run/llavamore-run
core_cmd_llavamore_run_llavamore_run_SOURCES = \
	core/cmd/print.c core/cmd/print.h core/cmd/program.c core/cmd/program.h \
	core/cmd/llavamore-run/arguments.c core/cmd/llavamore-run/arguments.h \
	core/cmd/llavamore-run/chat.c \
	core/cmd/llavamore-run/interrupt.c core/cmd/llavamore-run/interrupt.h \
	core/cmd/llavamore-run/main.c \
	core/cmd/llavamore-run/questions.c core/cmd/llavamore-run/questions.h \
	core/cmd/llavamore-run/report.c core/cmd/llavamore-run/report.h \
	core/cmd/llavamore-run/session.c core/cmd/llavamore-run/session.h \
	core/cmd/llavamore-run/terminal.c core/cmd/llavamore-run/terminal.h
core_cmd_llavamore_run_llavamore_run_CPPFLAGS = $(AM_CPPFLAGS) $(EDIT_CFLAGS)
core_cmd_llavamore_run_llavamore_run_LDADD = core/lib/libllavamore.la $(JANSSON_LIBS) $(EDIT_LIBS) $(SYSTEM_LIBS)
