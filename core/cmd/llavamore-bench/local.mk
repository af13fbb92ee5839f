# SPDX-License-Identifier: Apache-2.0
# It measures the kernels themselves, so that it links sdk/nn, and gives them the library's own host.

bin_PROGRAMS += core/cmd/llavamore-bench/llavamore-bench
core_cmd_llavamore_bench_llavamore_bench_SOURCES = \
	core/cmd/print.c core/cmd/print.h core/cmd/program.c core/cmd/program.h \
	core/cmd/llavamore-run/interrupt.c core/cmd/llavamore-run/interrupt.h \
	core/cmd/llavamore-bench/arguments.c \
	core/cmd/llavamore-bench/arguments.h \
	core/cmd/llavamore-bench/bench.h \
	core/cmd/llavamore-bench/compare.c \
	core/cmd/llavamore-bench/decode.c \
	core/cmd/llavamore-bench/device.c \
	core/cmd/llavamore-bench/error_bounds.h \
	core/cmd/llavamore-bench/errors.c \
	core/cmd/llavamore-bench/gemm.c \
	core/cmd/llavamore-bench/limits.c \
	core/cmd/llavamore-bench/main.c \
	core/cmd/llavamore-bench/measure.c \
	core/cmd/llavamore-bench/model.c \
	core/cmd/llavamore-bench/model.h \
	core/cmd/llavamore-bench/perplexity.c \
	core/cmd/llavamore-bench/perplexity.h \
	core/cmd/llavamore-bench/perplexity_model.c \
	core/cmd/llavamore-bench/perplexity_passages.c \
	core/cmd/llavamore-bench/perplexity_saved.c \
	core/cmd/llavamore-bench/perplexity_score.c \
	core/cmd/llavamore-bench/profile.c \
	core/cmd/llavamore-bench/profile.h \
	core/cmd/llavamore-bench/run.c \
	core/cmd/llavamore-bench/synthetic.c \
	core/cmd/llavamore-bench/synthetic.h \
	core/cmd/llavamore-bench/threads.c \
	core/cmd/llavamore-bench/work.c
core_cmd_llavamore_bench_llavamore_bench_LDADD = core/lib/libllavamore-internal.la $(NN_LIBS) $(CORE_LIBS)
