/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench perplexity: what its parts share. A passage is a sequence of ids, the last of which count; a subject
 * is a model that reads it; scores are what came out, token by token.
 */
#ifndef BENCH_PERPLEXITY_H
#define BENCH_PERPLEXITY_H

#include "../llavamore-run/interrupt.h"
#include "../print.h"
#include "assembly/assembly.h"
#include "generate/context.h"

/* ---- Models: perplexity_model.c ---------------------------------------------------------------------------------- */

typedef struct subject_config {
    const char *ini;                /* an INI file or the name of a preset */
    const char *const *assignments; /* "section.key=value", as of --set */
    int assignment_count;
    bool eyes; /* also the encoder and what belongs to it */
} subject_config;

typedef struct subject {
    interrupt *watcher; /* borrowed; NULL = none */
    core_config *config;
    core_host *host;
    core_registry *registry;
    core_functions *functions;
    core_assembly *assembly;
    char *picture;      /* whose rows are in `visual`; NULL = none yet */
    core_visual visual; /* of the last picture, since several questions are asked about one */
} subject;

/* The caller closes the subject, also after a failure. Without eyes a checkpoint that names no conversation template
 * (a base model) will do. Loading ends, with MORE_ERROR_CANCELLED, when the watcher (NULL = none) has seen a
 * signal; *self stays where it is until then. */
more_status subject_open(const subject_config *config, interrupt *watcher, subject *self, more_error *error);
void subject_close(subject *self);

/* ---- Passages: perplexity_passages.c ----------------------------------------------------------------------------- */

/* ids[first], ids[first + 1], ... count, each predicted by the rows before it. */
typedef struct passage {
    core_ids ids;  /* CORE_IMAGE_TOKEN in the picture's place, before `first` */
    size_t first;  /* 1 <= first < ids.count */
    char *picture; /* its file; NULL = none */
} passage;

typedef struct passages {
    passage *list;
    size_t count, capacity;
    int64_t tokens;  /* of the whole text, or of all conversations */
    int64_t counted; /* those that count */
} passages;

/* Windows of `window` tokens that follow one another in the text of `path` ("-" = standard input); what is left at the
 * end is dropped. The text is tokenised as a whole. Where the tokenizer puts a BOS before a text, each window's first
 * token is replaced by it. The tokens behind the first half of a window count, which is the rule of ggml's
 * perplexity program, so that figures can be compared. At most `limit` windows (0 = all). */
more_status passages_of_text(const subject *model, const char *path, int64_t window, int64_t limit, passages *list,
                             more_error *error);
/* One conversation a line of a JSONL file: {"image" (relative to the file), "question", "answer"}. The tokens of the
 * answer count, up to and with the one that ends it. */
more_status passages_of_questions(const subject *model, const char *path, int64_t limit, passages *list,
                                  more_error *error);
void passages_free(passages *list);
/* A number that differs, but for chance, where any id or any `first` does. */
uint64_t passages_digest(const passages *list);

/* ---- Reading: perplexity_model.c --------------------------------------------------------------------------------- */

/* A subject on its way through a passage. */
typedef struct reader {
    subject *subject;
    const passage *passage;
    more_session *session;
    size_t next; /* the id whose logits come next */
} reader;

/* Reads what stands before the tokens that count. The caller ends it, also after a failure. */
more_status reader_begin(subject *model, const passage *text, reader *self, more_error *error);
/* The logits [count, vocabulary] that predict the next `count` tokens that count, of which there are as many. */
more_status reader_next(reader *self, int64_t count, float *logits, more_error *error);
void reader_end(reader *self);

/* ---- Saved logits: perplexity_saved.c ---------------------------------------------------------------------------- */

/* A file of logits: 16 bytes of magic, then little-endian vocabulary, rows and digest of the passages (64 bits each),
 * then rows of f32. */
typedef struct saved_logits {
    FILE *file;
    const char *path;
    char *unfinished; /* what is being written, renamed to `path` at its end; NULL when reading */
    int64_t vocabulary, rows;
    uint64_t digest;
} saved_logits;

/* True for a file that begins as one of saved logits. */
bool saved_logits_recognise(const char *path);
/* MORE_ERROR_CORRUPT when the file's size is not what its head says. */
more_status saved_logits_open(const char *path, saved_logits *self, more_error *error);
more_status saved_logits_create(const char *path, int64_t vocabulary, int64_t rows, uint64_t digest, saved_logits *self,
                                more_error *error);
/* MORE_ERROR_CORRUPT when one of them is no number that a model may give: NaN or +inf. */
more_status saved_logits_read(saved_logits *self, int64_t count, float *logits, more_error *error);
more_status saved_logits_write(saved_logits *self, int64_t count, const float *logits, more_error *error);
/* Ends a file that is being written; only then it is there. */
more_status saved_logits_finish(saved_logits *self, more_error *error);
/* Closes; an unfinished file is removed. */
void saved_logits_close(saved_logits *self);

/* ---- Scores: perplexity_score.c ---------------------------------------------------------------------------------- */

/* Of one token that counts; natural logarithms. The last five only where there is a reference. */
typedef struct token_score {
    double surprise;           /* -ln p(token) */
    double reference_surprise; /* the same under the reference */
    double divergence;         /* sum of p_reference (ln p_reference - ln p) over the vocabulary */
    double change;             /* p(token) - p_reference(token) */
    bool same_top;             /* both have the same most likely token */
} token_score;

/* A mean and its standard error. */
typedef struct estimate {
    double value, error;
} estimate;

typedef struct summary {
    estimate perplexity;      /* exp(mean surprise) */
    estimate reference;       /* the same of the reference */
    estimate relative_change; /* perplexity / reference - 1, from the tokens' paired differences */
    estimate divergence;      /* mean */
    double divergence_median, divergence_99, divergence_most;
    estimate same_top;         /* share of the tokens */
    double probability_change; /* root mean square */
} summary;

/* Scores `token` under logits [vocabulary], against reference [vocabulary] unless that is NULL. False when a logit is
 * not a finite number. */
bool token_score_make(const float *logits, const float *reference, int64_t vocabulary, int32_t token,
                      token_score *score);
/* Of `count` >= 1 scores. MORE_ERROR_MEMORY for want of room to sort them. */
more_status scores_summarise(const token_score *scores, size_t count, bool has_reference, summary *result,
                             more_error *error);

#endif
