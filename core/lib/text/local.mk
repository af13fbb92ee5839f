# SPDX-License-Identifier: Apache-2.0
# Text: the tokenizer, the streaming detokenizer, conversation templates.

core_lib_libllavamore_la_SOURCES += \
	core/lib/text/decoding.h \
	core/lib/text/prompt.c \
	core/lib/text/stream.c core/lib/text/stream.h \
	core/lib/text/template.c core/lib/text/template.h \
	core/lib/text/template_data.h \
	core/lib/text/template_parse.c \
	core/lib/text/tokenizer.c core/lib/text/tokenizer.h \
	core/lib/text/tokenizer_data.h \
	core/lib/text/tokenizer_export.c core/lib/text/tokenizer_export.h \
	core/lib/text/tokenizer_export_data.h \
	core/lib/text/tokenizer_export_pieces.c \
	core/lib/text/tokenizer_gguf.c core/lib/text/tokenizer_gguf.h \
	core/lib/text/tokenizer_load.c \
	core/lib/text/tokenizer_pieces.c \
	core/lib/text/engine/added.c core/lib/text/engine/added.h \
	core/lib/text/engine/bpe.c core/lib/text/engine/bpe.h \
	core/lib/text/engine/bpe_load.c core/lib/text/engine/bpe_table.h \
	core/lib/text/engine/bytes.h \
	core/lib/text/engine/component.c core/lib/text/engine/component.h \
	core/lib/text/engine/decoder.c core/lib/text/engine/decoder.h \
	core/lib/text/engine/decoder_step.c core/lib/text/engine/decoder_step.h \
	core/lib/text/engine/merging.c core/lib/text/engine/merging.h \
	core/lib/text/engine/normalizer.c core/lib/text/engine/normalizer.h \
	core/lib/text/engine/oniguruma.c core/lib/text/engine/oniguruma.h \
	core/lib/text/engine/oniguruma_newer.h \
	core/lib/text/engine/pattern.c core/lib/text/engine/pattern.h \
	core/lib/text/engine/pieces.c core/lib/text/engine/pieces.h \
	core/lib/text/engine/postprocessor.c core/lib/text/engine/postprocessor.h \
	core/lib/text/engine/pretokenizer.c core/lib/text/engine/pretokenizer.h \
	core/lib/text/engine/reader.c core/lib/text/engine/reader.h \
	core/lib/text/engine/split.c core/lib/text/engine/split.h \
	core/lib/text/engine/trie.c core/lib/text/engine/trie.h \
	core/lib/text/engine/utf8.c core/lib/text/engine/utf8.h \
	core/lib/text/engine/vocabulary.c core/lib/text/engine/vocabulary.h \
	core/lib/text/sentencepiece/detokenize.c \
	core/lib/text/sentencepiece/encode.c \
	core/lib/text/sentencepiece/load.c \
	core/lib/text/sentencepiece/model.h \
	core/lib/text/sentencepiece/normalize.c \
	core/lib/text/sentencepiece/protobuf.c core/lib/text/sentencepiece/protobuf.h
