# SPDX-License-Identifier: Apache-2.0
# It asks the library's inner parts as llavamore-inspect does, and quantises with sdk/nn.

bin_PROGRAMS += core/cmd/llavamore-quantize/llavamore-quantize
core_cmd_llavamore_quantize_llavamore_quantize_SOURCES = \
	core/cmd/print.c core/cmd/print.h core/cmd/program.c core/cmd/program.h \
	core/cmd/llavamore-quantize/arguments.c core/cmd/llavamore-quantize/arguments.h \
	core/cmd/llavamore-quantize/check.c \
	core/cmd/llavamore-quantize/job.c core/cmd/llavamore-quantize/job.h \
	core/cmd/llavamore-quantize/main.c \
	core/cmd/llavamore-quantize/report.c core/cmd/llavamore-quantize/report.h \
	core/cmd/llavamore-quantize/source.c core/cmd/llavamore-quantize/source.h \
	core/cmd/llavamore-quantize/stop.c core/cmd/llavamore-quantize/stop.h
core_cmd_llavamore_quantize_llavamore_quantize_LDADD = core/lib/libllavamore-internal.la $(NN_HOST_LIBS) $(CORE_LIBS)
