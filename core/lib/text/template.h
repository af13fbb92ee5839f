/* SPDX-License-Identifier: Apache-2.0
 *
 * Conversation templates: data files that say how messages become a prompt.
 *
 * A template is an INI text with a section [template] and, behind it, sections with the names of programs whose prompts
 * can be had in its place ([lmms_eval]): what stands there replaces the values of [template]. Values are texts in
 * double quotes with the escapes \n \t \" \\ and \xHH (a byte); a value goes on in the next line when that line begins
 * with white space and a quote. Keys: alias = v1 v0            other names of this template, separated by spaces
 *   description = "..."      one line for people
 *   bos = "..."              text at the very start
 *   system = "..."           the default system message; without this key the template has no place for one
 *   system_prefix, system_suffix, user_prefix, user_suffix, assistant_prefix, assistant_suffix = "..."
 *                            what stands around a message of that role
 *   generation = "..."       what comes last, so that the model answers next; default: assistant_prefix
 *   generation_no_image = "..."  the same where no message has an image; default: generation
 *   image_suffix = "..."     what follows each image that is put in front of a question; default "\n"
 *   image_joint = "..."      what stands in place of image_suffix between two such images; default: image_suffix
 *   trim = true|false        strip white space around every message; default false
 *   user_text = keep|discard discard: of what the user says only the images stay; default keep
 *   stop = "<|eot_id|>" ...  texts of tokens that end the answer, each in quotes, separated by spaces
 * alias, description and stop stand in [template] only. An unknown key is refused with file and line. A literal ; after
 * white space begins a comment: write it as \x3b.
 */
#ifndef CORE_TEMPLATE_H
#define CORE_TEMPLATE_H

#include "base/buffer.h"
#include "text/tokenizer.h"

typedef struct core_template core_template;

typedef enum core_role { CORE_ROLE_USER = 0, CORE_ROLE_ASSISTANT = 1 } core_role;

/* One message; users and assistants alternate, a user first. */
typedef struct core_message {
    core_role role;
    const char *text; /* UTF-8, NUL-terminated. With images > 0 each literal <image> in it is the place of one image; if
                         it holds none, the images come first, each followed by image_suffix. With images == 0 a literal
                         <image> is plain text */
    int32_t images;   /* images that go with a user's message; 0 for an assistant's */
} core_message;

#define CORE_IMAGE_MARK "<image>"
#define CORE_IMAGE_TOKEN (-200) /* stands for one image's rows among ids */

/* A rendered prompt: text with the mark <image> at each image, and where these marks are (a user may type the mark as
 * plain text, which is no image). Zero-initialise; free with core_prompt_free. */
typedef struct core_prompt {
    core_buffer text;
    size_t *images; /* byte offsets of the marks that stand for images, ascending */
    size_t image_count, image_capacity;
} core_prompt;

void core_prompt_free(core_prompt *prompt);

/* `source` is inline INI text (it holds a newline), a path (it holds a slash or ends in ".ini"), or the name or an
 * alias of a file in `folder`. The caller owns *result. Errors: MORE_ERROR_NOT_FOUND with the names that there are,
 * MORE_ERROR_CORRUPT with file and line. With `compat`, the name of a section, the template is as that
 * section changes it; a template without it is MORE_ERROR_UNSUPPORTED. NULL: as [template] says. [any-thread] */
more_status core_template_load(const char *source, const char *folder, const char *compat, core_template **result,
                               more_error *error);
/* NULL is allowed. */
void core_template_destroy(core_template *loaded);

/* Name for messages: the file's name without ".ini", or "inline". [any-thread] */
const char *core_template_name(const core_template *loaded);
/* "" without one. [any-thread] */
const char *core_template_description(const core_template *loaded);
/* The default system message; NULL when the template has no place for one. [any-thread] */
const char *core_template_system(const core_template *loaded);
/* Stop text `index`; NULL past the last. [any-thread] */
const char *core_template_stop(const core_template *loaded, size_t index);
/* Appends the ids of the stop texts that the tokenizer knows as one token, and leaves the others out (the files list
 * the stops of a family). [any-thread] */
more_status core_template_stop_ids(const core_template *loaded, const core_tokenizer *tokenizer, core_ids *ids,
                                   more_error *error);

/* Appends the whole conversation to `prompt`. `system` replaces the default system message; NULL takes the default, ""
 * leaves it out. With `generate`, which needs a user's message at the end, the prompt ends where the model goes on.
 * Errors: MORE_ERROR_ARGUMENT (roles do not alternate; a number of <image> in a text that is neither 0 nor its images;
 * a system message where there is no place). [any-thread] */
more_status core_template_render(const core_template *loaded, const core_message *messages, size_t count,
                                 const char *system, bool generate, core_prompt *prompt, more_error *error);
/* The part of that text which follows the answer messages[first - 1]: what is missing in a session that holds the
 * conversation up to the last id of that answer, without the stop token. The whole rendering equals the text up to and
 * with that answer + this. messages[first] is a user's; 0 < first <= count. [any-thread] */
more_status core_template_continue(const core_template *loaded, const core_message *messages, size_t count,
                                   size_t first, bool generate, core_prompt *prompt, more_error *error);

/* Makes every literal <image> in prompt->text an image, for a prompt that was written by hand. */
more_status core_prompt_mark_all(core_prompt *prompt, more_error *error);

/* Appends the ids of a prompt, CORE_IMAGE_TOKEN at each image. As in LLaVA: the chunks between images are tokenised
 * apart, each with the post-processor's tokens, BOS is dropped from all but the first, and from the first when the
 * prompt's text already begins with it, so that there is one. With `continuing` (text from core_template_continue) no
 * token is added at all. The text must be UTF-8: a bad byte is refused with its offset. Special tokens that a user
 * typed become special tokens, as in the reference. [any-thread] */
more_status core_prompt_encode(const core_tokenizer *tokenizer, const core_prompt *prompt, bool continuing,
                               core_ids *ids, more_error *error);

#endif
