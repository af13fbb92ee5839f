/* SPDX-License-Identifier: Apache-2.0
 *
 * Text parts that are each in order, but belong to different models.
 */
#include "assembly/assembly.h"
#include "weights/checkpoint.h"
#include <stdlib.h>
#include <string.h>

#define LONGEST_TOKEN 64 /* bytes of a token's text in a template */

/* The next piece of `text` that is written like a special token, "<|eot_id|>" or "<bos>": from < to > without blanks.
 * Fills `token`; NULL when there is none, else where to go on. */
static const char *next_token(const char *text, char token[LONGEST_TOKEN])
{
    for (const char *at = text; (at = strchr(at, '<')); at++) {
        size_t length = strcspn(at + 1, "<> \t\n") + 1;
        if (at[length] != '>' || length < 2 || length + 2 > LONGEST_TOKEN)
            continue;
        memcpy(token, at, length + 1);
        token[length + 1] = '\0';
        return at + length + 1;
    }
    return NULL;
}

static const char *tokenizer_path(const core_assembly *assembly)
{
    const char *path = core_config_string(assembly->config, "llm", "tokenizer");
    return path && path[0] ? path : core_checkpoint_folder(assembly->folder);
}

static more_status check_token(const core_assembly *assembly, const char *token, more_error *error)
{
    core_ids ids = {0};
    int32_t id = core_tokenizer_id(assembly->tokenizer, token);
    more_status status = core_tokenizer_encode(assembly->tokenizer, token, strlen(token), 0, &ids, error);
    if (status == MORE_OK && (id < 0 || ids.count != 1))
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "the conversation template '%s' speaks with the token %s, but the tokenizer of %s makes %zu "
                           "tokens of it: they belong to different models; set [llm] template or [llm] tokenizer",
                           core_template_name(assembly->conversation), token, tokenizer_path(assembly), ids.count);
    else if (status == MORE_OK && id >= assembly->language_info.vocabulary)
        status = more_fail(error, MORE_ERROR_UNSUPPORTED,
                           "the conversation template '%s' speaks with the token %s, which is %d to the tokenizer of "
                           "%s, but the language model of %s knows %lld tokens: they belong to different models",
                           core_template_name(assembly->conversation), token, id, tokenizer_path(assembly),
                           assembly->language_path, (long long)assembly->language_info.vocabulary);
    core_ids_free(&ids);
    return status;
}

/* Pictures are spliced in at our own mark, never at an id; but a tokenizer that lacks the id which the checkpoint gives
 * to its image token is another model's. */
static more_status check_image_token(const core_assembly *assembly, more_error *error)
{
    char *text = core_layout_setting(assembly->layout, assembly->folder, "llm.image_token"), *end = text;
    long id = text ? strtol(text, &end, 10) : 0;
    bool known = end == text || *end ||
                 (id >= 0 && id < core_tokenizer_size(assembly->tokenizer) &&
                  core_tokenizer_piece(assembly->tokenizer, (int32_t)id, NULL));
    more_status status =
        known ? MORE_OK
              : more_fail(error, MORE_ERROR_UNSUPPORTED,
                          "the checkpoint of %s has the image token %ld, but the tokenizer of %s, with %d tokens, does "
                          "not know it: they belong to different models; set [llm] tokenizer",
                          assembly->language_path, id, tokenizer_path(assembly),
                          core_tokenizer_size(assembly->tokenizer));
    free(text);
    return status;
}

more_status core_assembly_check_text(const core_assembly *assembly, more_error *error)
{
    static const core_message talk[] = {
        {CORE_ROLE_USER, "question", 0}, {CORE_ROLE_ASSISTANT, "answer", 0}, {CORE_ROLE_USER, "question", 0}};
    char token[LONGEST_TOKEN];
    core_prompt prompt = {0};
    more_status status = check_image_token(assembly, error);
    if (status == MORE_OK)
        status = core_template_render(assembly->conversation, talk, 3, NULL, true, &prompt, error);
    const char *at = status == MORE_OK && prompt.text.data ? prompt.text.data : "";
    while (status == MORE_OK && (at = next_token(at, token)))
        status = check_token(assembly, token, error);
    core_prompt_free(&prompt);
    if (status == MORE_OK && core_tokenizer_size(assembly->tokenizer) > assembly->language_info.vocabulary)
        core_log(core_host_abi(assembly->host), MORE_LOG_WARNING, "tokenizer",
                 "the tokenizer of %s has %d tokens, the language model of %s knows %lld: a prompt with one of the "
                 "others will be refused",
                 tokenizer_path(assembly), core_tokenizer_size(assembly->tokenizer), assembly->language_path,
                 (long long)assembly->language_info.vocabulary);
    return status;
}
