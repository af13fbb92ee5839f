# SPDX-License-Identifier: Apache-2.0
# It measures the kernels themselves, so that it links sdk/nn, and gives them the library's own host.

bin_PROGRAMS += core/cmd/llavamore-bench/llavamore-bench
core_cmd_llavamore_bench_llavamore_bench_SOURCES = \
	core/cmd/print.c core/cmd/print.h core/cmd/program.c core/cmd/program.h \
	core/cmd/llavamore-bench/bench.h \
	core/cmd/llavamore-bench/decode.c \
	core/cmd/llavamore-bench/gemm.c \
	core/cmd/llavamore-bench/main.c \
	core/cmd/llavamore-bench/measure.c
core_cmd_llavamore_bench_llavamore_bench_LDADD = core/lib/libllavamore-internal.la sdk/nn/libnn.la $(CORE_LIBS)
