# SPDX-License-Identifier: Apache-2.0
# Writing GGUF files: the format, the rules, tokenizers there and back, and llavamore-quantize.
check_PROGRAMS += tests/gguf/test_write tests/gguf/test_tokenizers
tests_gguf_test_write_SOURCES = tests/gguf/test_write.c tests/unit/weights/made.c tests/unit/weights/made.h
tests_gguf_test_write_LDADD = $(TEST_LIBS)
tests_gguf_test_tokenizers_SOURCES = tests/gguf/test_tokenizers.c tests/unit/weights/made.c tests/unit/weights/made.h \
	tests/parity/tokens.c tests/parity/tokens.h
tests_gguf_test_tokenizers_LDADD = $(TEST_LIBS)
dist_check_SCRIPTS += tests/gguf/run
EXTRA_DIST += tests/gguf/check.py tests/gguf/python tests/gguf/with_llama_cpp
