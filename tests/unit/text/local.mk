# SPDX-License-Identifier: Apache-2.0

check_PROGRAMS += tests/unit/text/test_sampler
tests_unit_text_test_sampler_SOURCES = tests/unit/text/test_sampler.c
tests_unit_text_test_sampler_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/text/test_template
tests_unit_text_test_template_SOURCES = tests/unit/text/test_template.c
tests_unit_text_test_template_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/unit/text/test_tokenizer
tests_unit_text_test_tokenizer_SOURCES = tests/unit/text/test_tokenizer.c
tests_unit_text_test_tokenizer_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_tokens
tests_parity_test_tokens_SOURCES = tests/parity/test_tokens.c tests/parity/tokens.c tests/parity/tokens.h
tests_parity_test_tokens_LDADD = $(TEST_LIBS)
check_PROGRAMS += tests/parity/test_sentencepiece
tests_parity_test_sentencepiece_SOURCES = tests/parity/test_sentencepiece.c tests/parity/tokens.c tests/parity/tokens.h
tests_parity_test_sentencepiece_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/unit/text/data/make_sampler.py tests/unit/text/data/sampler.json
