# SPDX-License-Identifier: Apache-2.0
# libFuzzer targets, built by ./configure --enable-fuzzers CC=clang and run by tests/fuzz/run.

FUZZ_LIBS = core/lib/libllavamore-internal.la $(CORE_LIBS)
if FUZZERS
noinst_PROGRAMS += tests/fuzz/fuzz_call tests/fuzz/fuzz_gguf tests/fuzz/fuzz_image tests/fuzz/fuzz_ini \
	tests/fuzz/fuzz_safetensors tests/fuzz/fuzz_sentencepiece tests/fuzz/fuzz_template tests/fuzz/fuzz_tokenizer tests/fuzz/fuzz_torch
endif
tests_fuzz_fuzz_call_SOURCES = tests/fuzz/fuzz_call.c
tests_fuzz_fuzz_call_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_call_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_gguf_SOURCES = tests/fuzz/fuzz_gguf.c
tests_fuzz_fuzz_gguf_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_gguf_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_image_SOURCES = tests/fuzz/fuzz_image.c
tests_fuzz_fuzz_image_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_image_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_ini_SOURCES = tests/fuzz/fuzz_ini.c
tests_fuzz_fuzz_ini_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_ini_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_safetensors_SOURCES = tests/fuzz/fuzz_safetensors.c
tests_fuzz_fuzz_safetensors_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_safetensors_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_sentencepiece_SOURCES = tests/fuzz/fuzz_sentencepiece.c
tests_fuzz_fuzz_sentencepiece_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_sentencepiece_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_template_SOURCES = tests/fuzz/fuzz_template.c
tests_fuzz_fuzz_template_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_template_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_tokenizer_SOURCES = tests/fuzz/fuzz_tokenizer.c
tests_fuzz_fuzz_tokenizer_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_tokenizer_LDADD = $(FUZZ_LIBS)
tests_fuzz_fuzz_torch_SOURCES = tests/fuzz/fuzz_torch.c
tests_fuzz_fuzz_torch_LDFLAGS = $(AM_LDFLAGS) $(FUZZER_LDFLAGS)
tests_fuzz_fuzz_torch_LDADD = $(FUZZ_LIBS)
EXTRA_DIST += tests/fuzz/run tests/fuzz/corpus tests/fuzz/tokenizer.dict tests/fuzz/torch.dict

# Runs on until a target finds something, or SECONDS=60 each.
SECONDS = 0
fuzz:
	$(MKDIR_P) fuzzers
	cd fuzzers && { test -f config.status || '$(abs_srcdir)'/configure --quiet --enable-fuzzers CC=clang CFLAGS='-O1 -g'; } \
		&& $(MAKE) && '$(abs_srcdir)'/tests/fuzz/run . $(SECONDS)
