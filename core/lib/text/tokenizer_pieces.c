/* SPDX-License-Identifier: Apache-2.0
 *
 * What the folder of a SentencePiece model says beside the model.
 */
#include "text/tokenizer_data.h"

#include <stdlib.h>
#include <string.h>

static more_status out_of_memory(const char *name, more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "%s: out of memory", name);
}

/* One member of added_tokens_decoder: the key is the id. */
static more_status add_listed(core_tokenizer *t, const char *key, json_t *item, const char *name, core_buffer *text,
                              more_error *error)
{
    core_place place = {name, "added_tokens_decoder", key};
    core_added_token token;
    char *end;
    long id = strtol(key, &end, 10);
    if (*end || end == key || id < 0 || id >= CORE_VOCABULARY_LIMIT)
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: added_tokens_decoder: '%.40s' is no token id", name, key);
    more_status status = core_added_read(item, &place, &token, text, error);
    if (status != MORE_OK)
        return status;
    token.id = (int32_t)id;
    return core_added_put(&t->added, token, text->data ? text->data : "", text->size, name, error);
}

/* Control pieces and the unknown one, which no text gives by itself. */
static more_status add_own(core_tokenizer *t, const char *name, more_error *error)
{
    more_status status = MORE_OK;
    for (int32_t id = 0; id < t->pieces->vocabulary.size && status == MORE_OK; id++) {
        unsigned char type = t->pieces->types[id];
        size_t size;
        const char *text = core_vocabulary_piece(&t->pieces->vocabulary, id, &size);
        bool listed = core_added_find(&t->added, id) != NULL;
        if (!listed && (type == CORE_PIECE_CONTROL || type == CORE_PIECE_UNKNOWN))
            status = core_added_put(&t->added, (core_added_token){.id = id, .special = true}, text, size, name, error);
    }
    return status;
}

more_status core_tokenizer_add_pieces(core_tokenizer *t, json_t *config, const char *name, more_error *error)
{
    json_t *listed = json_object_get(config, "added_tokens_decoder"), *item;
    core_buffer text = {0};
    const char *key;
    more_status status = MORE_OK;
    if (listed && !json_is_null(listed) && !json_is_object(listed))
        return more_fail(error, MORE_ERROR_CORRUPT, "%s: added_tokens_decoder must be an object", name);
    json_object_foreach(listed, key, item)
    {
        if (status == MORE_OK)
            status = add_listed(t, key, item, name, &text, error);
    }
    core_buffer_free(&text);
    if (status == MORE_OK)
        status = add_own(t, name, error);
    if (status == MORE_OK)
        status = core_added_finish(&t->added, name, &t->normalizer, error);
    t->prefix_once = json_is_false(json_object_get(config, "legacy"));
    if (t->prefix_once && json_is_false(json_object_get(config, "add_prefix_space")))
        t->pieces->dummy_prefix = false;
    return status;
}

more_status core_tokenizer_add_ends(core_tokenizer *t, json_t *config, const char *name, more_error *error)
{
    if (t->bos >= 0 && !json_is_false(json_object_get(config, "add_bos_token")))
        core_ids_push(&t->post.before, t->bos);
    if (t->eos >= 0 && json_is_true(json_object_get(config, "add_eos_token")))
        core_ids_push(&t->post.behind, t->eos);
    return t->post.before.failed || t->post.behind.failed ? out_of_memory(name, error) : MORE_OK;
}
