/* SPDX-License-Identifier: Apache-2.0
 *
 * libllavamore: a vision-language model inside a program.
 *
 *     llavamore_settings *settings = llavamore_settings_create(NULL);
 *     llavamore_settings_load(settings, "preset.ini", &error);
 *     llavamore_model_open(settings, LLAVAMORE_OPEN_DEFAULT, &model, &error);
 *     llavamore_chat_create(model, &chat, &error);
 *     llavamore_chat_ask(chat, &(llavamore_question){.text = "What colour is the ball?", .images = &image,
 *                        .image_count = 1, .on_text = print}, &answer, &error);
 *
 * Every call that can fail returns a more_status and writes one line into `error` (NULL is allowed). Nothing here exits
 * or aborts the process. Objects are opaque; each is freed by its own function, NULL allowed, in the reverse order of
 * their making. Thread tags as in llavamore/host.h; a chat counts as a session.
 */
#ifndef LLAVAMORE_H
#define LLAVAMORE_H

#include <llavamore/host.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LLAVAMORE_API __attribute__((visibility("default")))
#else
#define LLAVAMORE_API
#endif

/* "0.1.0". [any-thread] */
LLAVAMORE_API const char *llavamore_version(void);
/* Frees a string that this library gave away. [any-thread] */
LLAVAMORE_API void llavamore_free(void *memory);

/* ---- Settings: the INI file and what overrides it ---------------------------------------------------------------- */

typedef struct llavamore_settings llavamore_settings;

/* Where messages and progress go; called from any thread, one call at a time. NULL members: warnings and errors to
 * standard error, no progress. */
typedef struct llavamore_callbacks {
    void (*log)(void *user, more_log_level level, const char *component, const char *message);
    void (*progress)(void *user, const char *stage, int64_t done, int64_t total);
    void *user;
} llavamore_callbacks;

/* Empty settings; NULL when out of memory. callbacks (NULL = none) is copied. [any-thread] */
LLAVAMORE_API llavamore_settings *llavamore_settings_create(const llavamore_callbacks *callbacks);
LLAVAMORE_API void llavamore_settings_destroy(llavamore_settings *settings);
/* Reads an INI file, or, where `name` has no '/' and is no file, the preset of that name. [one-thread-per-instance] */
LLAVAMORE_API more_status llavamore_settings_load(llavamore_settings *settings, const char *name, more_error *error);
/* `assignment` is "section.key=value"; wins over every file. [one-thread-per-instance] */
LLAVAMORE_API more_status llavamore_settings_set(llavamore_settings *settings, const char *assignment,
                                                 more_error *error);

/* The presets found, as JSON: [{"name", "path", "description"}]. The caller frees it with llavamore_free.
 * [any-thread] */
LLAVAMORE_API more_status llavamore_list_presets(char **json, more_error *error);
/* The plugins found under these settings, as JSON: {"plugins": [{"kind", "id", "version", "license", "description",
 * "path", "score", "chosen"}], "refused": [{"path", "reason"}]}. The caller frees it. From here on the
 * settings' [runtime] keys are in use: changes to them come too late. [one-thread-per-instance] */
LLAVAMORE_API more_status llavamore_list_plugins(llavamore_settings *settings, char **json, more_error *error);

/* ---- Model: the assembled pipeline ------------------------------------------------------------------------------- */

typedef struct llavamore_model llavamore_model;

typedef int32_t llavamore_open_flags;
enum {
    LLAVAMORE_OPEN_DEFAULT = 0,
    LLAVAMORE_OPEN_DRY_RUN = 1 /* check everything, load no weights: only llavamore_model_describe works then */
};

/* Finds the plugins, opens the checkpoints, loads the weights. The settings then belong to the model: they may be
 * destroyed or cancelled, and nothing else; another model needs settings of its own. [one-thread-per-instance] */
LLAVAMORE_API more_status llavamore_model_open(llavamore_settings *settings, llavamore_open_flags flags,
                                               llavamore_model **model, more_error *error);
/* Every chat of the model must be destroyed before. */
LLAVAMORE_API void llavamore_model_close(llavamore_model *model);
/* The resolved assembly as JSON: plugins, checkpoints, shapes, preprocessing, template, sampler, memory in bytes. The
 * caller frees it. [any-thread] */
LLAVAMORE_API more_status llavamore_model_describe(const llavamore_model *model, char **json, more_error *error);
/* Makes loading, encoding and generation of this model stop soon, with what they have. Async-signal-safe; holds until
 * called again with false. Works on settings too, whose model inherits it. [any-thread] */
LLAVAMORE_API void llavamore_model_cancel(llavamore_model *model, bool cancelled);
LLAVAMORE_API void llavamore_settings_cancel(llavamore_settings *settings, bool cancelled);

/* ---- Chat: a conversation ---------------------------------------------------------------------------------------- */

typedef struct llavamore_chat llavamore_chat;

/* A picture: a file, or its bytes (as in the file: JPEG, PNG, BMP, GIF, PNM). */
typedef struct llavamore_image {
    const char *path; /* NULL when bytes are given; then `name` stands in messages */
    const void *bytes;
    size_t size; /* bytes */
    const char *name;
} llavamore_image;

/* Gets each piece of the answer as it is made: whole UTF-8 characters. Returning false stops the generation. */
typedef bool (*llavamore_text_function)(void *user, const char *text, size_t size);

typedef struct llavamore_question {
    const char *text; /* UTF-8, NULL = ""; `<image>` in it places an image, else they stand before the text */
    const llavamore_image *images; /* NULL when image_count is 0 */
    int32_t image_count;
    llavamore_text_function on_text; /* NULL = only the whole answer */
    void *user;
    const char *dump_folder; /* NULL = none; else what flowed is written there as .npy files */
    bool dump_layers;        /* also the hidden states of every layer */
} llavamore_question;

typedef struct llavamore_answer {
    char *text;         /* UTF-8, NUL-terminated */
    size_t size;        /* bytes of text */
    int32_t *token_ids; /* as drawn, the stop token included */
    int32_t token_count;
    const char *finish_reason; /* "stop" (a stop token or string), "length" (max_new_tokens or the context),
                                  "cancelled"; static */
    int64_t prompt_tokens;     /* rows that this question added to the model: text and image rows */
    int64_t image_tokens;      /* those of them that are image rows */
    int64_t completion_tokens; /* tokens drawn */
    int64_t prefill_rows;      /* rows that went through the language model before the first token was drawn; more than
                                  prompt_tokens only where the model's positions follow the length (LongRoPE) and the
                                  conversation passed its edge, so that earlier rows were computed anew */
    int64_t reused_rows;       /* rows of the conversation, this question's included, that had been computed before */
    int32_t encoded_images;    /* images that went through the encoder; the others had been seen before */
    int64_t decode_calls;      /* of the language model after the prompt's: as many as tokens fed back, or fewer under
                                  [generate] prompt_lookup */
    int64_t guessed_tokens;    /* fed ahead by prompt_lookup */
    int64_t right_tokens;      /* those of them that were then drawn */
    double preprocess_ms, encode_ms, project_ms, prefill_ms, decode_ms, first_token_ms, total_ms;
} llavamore_answer;

LLAVAMORE_API more_status llavamore_chat_create(llavamore_model *model, llavamore_chat **chat, more_error *error);
/* A second conversation with the same content, which goes its own way from here on: several questions about what was
 * said so far, without computing it again. What they have in common is stored once. The copy may live in another thread
 * than the original, and longer. On failure *fork is NULL. [one-thread-per-session] */
LLAVAMORE_API more_status llavamore_chat_fork(const llavamore_chat *chat, llavamore_chat **fork, more_error *error);
LLAVAMORE_API void llavamore_chat_destroy(llavamore_chat *chat);
/* Asks within the conversation so far. On failure the conversation is as before the call. *answer is filled on success
 * (also when it was cancelled half-way) and freed by llavamore_answer_clear. [one-thread-per-session] */
LLAVAMORE_API more_status llavamore_chat_ask(llavamore_chat *chat, const llavamore_question *question,
                                             llavamore_answer *answer, more_error *error);
/* Begins a new conversation. What its first question has in common with the one before, such as the pictures and the
 * text before them, is not computed again: so this is how to ask several questions about one picture. The old rows stay
 * in memory until that question is answered or the chat is destroyed; of a model with sliding windows those up to the
 * last picture stay as long as the chat. [one-thread-per-session] */
LLAVAMORE_API more_status llavamore_chat_reset(llavamore_chat *chat, more_error *error);
LLAVAMORE_API void llavamore_answer_clear(llavamore_answer *answer);

/* Milliseconds that opening took, and the peak resident memory of this process in bytes. [any-thread] */
LLAVAMORE_API double llavamore_model_load_ms(const llavamore_model *model);
LLAVAMORE_API int64_t llavamore_peak_memory(void);

#ifdef __cplusplus
}
#endif
#endif
