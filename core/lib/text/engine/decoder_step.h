/* SPDX-License-Identifier: Apache-2.0
 *
 * A step of a decoder: what it is, what it remembers, and how it hands on.
 *
 * Tokens come as chunks: most are one chunk with `begin` and `end`, but what fuses all tokens into one hands it on in
 * many, of which the first has `begin` and only the last, perhaps empty, `end`. Chunks are whole characters.
 */
#ifndef CORE_DECODER_STEP_H
#define CORE_DECODER_STEP_H

#include "text/engine/decoder.h"

typedef struct core_decoder_step core_decoder_step;
typedef struct core_decoder_state core_decoder_state;

typedef struct core_chunk {
    const char *data;
    size_t size;
    bool begin, end;
} core_chunk;

typedef void (*core_decoder_take)(core_decoding *decoding, size_t index, core_chunk chunk);
typedef void (*core_decoder_flush)(core_decoding *decoding, size_t index);

struct core_decoder_step {
    core_decoder_take take;
    core_decoder_flush flush; /* end of all tokens; NULL = nothing is kept */
    bool whole;               /* `take` wants tokens in one chunk: they are collected for it */
    core_pattern *pattern;    /* Replace */
    core_buffer content;      /* Replace, Strip, Metaspace: a text, a character */
    int64_t start, stop;      /* Strip */
    bool drop_first;          /* Metaspace: its marks in the first token print nothing; SentencePiece: the first mark */
    bool drop_all;            /* SentencePiece: every mark at the front of what is printed */
    bool bytes;               /* SentencePiece: <0xNN> is a byte */
};

/* What a step remembers of one text. */
struct core_decoder_state {
    core_buffer collected; /* a token that came in chunks so far */
    core_buffer held;      /* bytes that may still become something else */
    int64_t seen;          /* Strip: characters cut from this token; Metaspace and joining: tokens begun;
                              SentencePiece: the mark in front has gone */
    bool started;          /* Fuse, ByteLevel: the one token has begun. Strip: a character was let through.
                              SentencePiece: something was printed */
};

struct core_decoding {
    const core_decoder *decoder;
    core_buffer *text;
    more_error *error;
    more_status status; /* the first failure */
    core_decoder_state states[];
};

/* Gives a chunk to step `index`, or past the last one to the text. */
void core_decoder_give(core_decoding *decoding, size_t index, core_chunk chunk);
/* Gives a whole token. */
void core_decoder_give_token(core_decoding *decoding, size_t index, const char *data, size_t size);

/* The steps' functions. */
void core_take_letters(core_decoding *decoding, size_t index, core_chunk chunk);
void core_flush_letters(core_decoding *decoding, size_t index);
void core_take_replace(core_decoding *decoding, size_t index, core_chunk chunk);
void core_take_byte(core_decoding *decoding, size_t index, core_chunk chunk);
void core_flush_bytes(core_decoding *decoding, size_t index);
void core_take_fuse(core_decoding *decoding, size_t index, core_chunk chunk);
void core_flush_fuse(core_decoding *decoding, size_t index);
void core_take_strip(core_decoding *decoding, size_t index, core_chunk chunk);
void core_take_marked(core_decoding *decoding, size_t index, core_chunk chunk);
void core_take_joined(core_decoding *decoding, size_t index, core_chunk chunk);
void core_take_sentence_piece(core_decoding *decoding, size_t index, core_chunk chunk);
void core_flush_sentence_piece(core_decoding *decoding, size_t index);

/* The byte that "<0xNN>" stands for; -1 for any other text. [any-thread] */
int core_byte_of_piece(const char *text, size_t size);

#endif
