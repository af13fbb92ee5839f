/* SPDX-License-Identifier: Apache-2.0 */
#include "text/engine/decoder_step.h"
#include "text/engine/utf8.h"
#include "text/sentencepiece/model.h"
#include "text/sentencepiece/protobuf.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN(size) ((int)((size) > 60 ? 60 : (size))) /* bytes of a piece that a message shows */

/* Numbers of the fields that we read (sentencepiece_model.proto). */
enum { MODEL_PIECES = 1, MODEL_TRAINER = 2, MODEL_NORMALIZER = 3, MODEL_DENORMALIZER = 5 };
enum { PIECE_TEXT = 1, PIECE_SCORE = 2, PIECE_TYPE = 3 };
enum {
    TRAINER_MODEL_TYPE = 3,
    TRAINER_SPACE_AS_SUFFIX = 24,
    TRAINER_BYTE_FALLBACK = 35,
    TRAINER_UNKNOWN_SURFACE = 44,
    TRAINER_BOS = 46,
    TRAINER_EOS = 47
};
enum { NORMALIZER_CHARSMAP = 2, NORMALIZER_PREFIX = 3, NORMALIZER_EXTRA_SPACES = 4, NORMALIZER_ESCAPE = 5 };
enum { TYPE_UNIGRAM = 1, TYPE_BPE = 2 };

typedef struct loading {
    core_sentencepiece *model;
    const char *name;
    core_buffer bos, eos;
    size_t capacity;
    more_error *error;
} loading;

static more_status out_of_memory(const loading *l)
{
    return more_fail(l->error, MORE_ERROR_MEMORY, "%s: out of memory", l->name);
}

static more_status corrupt(const loading *l, int32_t id, const char *text, size_t size, const char *what)
{
    return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: piece %d ('%.*s') %s", l->name, id, SHOWN(size),
                     text ? text : "", what);
}

static bool grow(loading *l)
{
    core_sentencepiece *model = l->model;
    size_t capacity = l->capacity ? l->capacity * 2 : 1024;
    float *scores = realloc(model->scores, capacity * sizeof *scores);
    if (scores)
        model->scores = scores;
    unsigned char *types = realloc(model->types, capacity);
    if (types)
        model->types = types;
    if (!scores || !types)
        return false;
    l->capacity = capacity;
    return true;
}

/* What its type asks of a piece. */
static more_status place_piece(loading *l, int32_t id, const char *text, size_t size, uint64_t type)
{
    core_sentencepiece *model = l->model;
    if (type < CORE_PIECE_NORMAL || type > CORE_PIECE_BYTE)
        return corrupt(l, id, text, size, "has a type that is not known");
    model->types[id] = (unsigned char)type;
    model->has_unused |= type == CORE_PIECE_UNUSED;
    if (type == CORE_PIECE_UNKNOWN) {
        if (model->unknown >= 0)
            return corrupt(l, id, text, size, "is a second unknown piece");
        model->unknown = id;
    }
    if (type == CORE_PIECE_BYTE) {
        int byte = core_byte_of_piece(text, size);
        if (byte < 0)
            return corrupt(l, id, text, size, "has the type BYTE, but is not <0x00> to <0xFF>");
        model->bytes[byte] = id;
    }
    if (type == CORE_PIECE_USER_DEFINED && !core_trie_add(&model->user, text, size, (uint32_t)id))
        return out_of_memory(l);
    if (type == CORE_PIECE_NORMAL)
        model->least = fminf(model->least, model->scores[id]);
    return MORE_OK;
}

static more_status read_piece(loading *l, core_protobuf message)
{
    core_sentencepiece *model = l->model;
    core_field field = {0};
    const char *text = NULL;
    size_t size = 0;
    uint32_t bits = 0;
    uint64_t type = CORE_PIECE_NORMAL;
    int32_t id = model->vocabulary.size;
    more_status status = MORE_OK;
    while (message.at < message.end && status == MORE_OK) {
        status = core_protobuf_next(&message, &field, l->error);
        if (status == MORE_OK && field.number <= PIECE_TYPE)
            status = core_protobuf_expect(&message, &field,
                                          field.number == PIECE_TEXT    ? CORE_WIRE_BYTES
                                          : field.number == PIECE_SCORE ? CORE_WIRE_32
                                                                        : CORE_WIRE_VARINT,
                                          l->error);
        if (field.number == PIECE_TEXT) {
            text = (const char *)field.data;
            size = field.size;
        } else if (field.number == PIECE_SCORE) {
            bits = (uint32_t)field.value;
        } else if (field.number == PIECE_TYPE) {
            type = field.value;
        }
    }
    if (status != MORE_OK)
        return status;
    if (!size || core_utf8_check(text, size) != size)
        return corrupt(l, id, text, size, size ? "is not UTF-8" : "has no text");
    if (core_vocabulary_find(&model->vocabulary, text, size) >= 0)
        return corrupt(l, id, text, size, "stands in the model twice");
    if (id >= CORE_VOCABULARY_LIMIT)
        return corrupt(l, id, text, size, "is more than a tokenizer here may have");
    if (((size_t)id >= l->capacity && !grow(l)) || !core_vocabulary_set(&model->vocabulary, text, size, id))
        return out_of_memory(l);
    memcpy(&model->scores[id], &bits, sizeof bits);
    if (!isfinite(model->scores[id]))
        return corrupt(l, id, text, size, "has a score that is not finite");
    return place_piece(l, id, text, size, type);
}

static more_status set_text(const loading *l, const core_protobuf *message, const core_field *field, core_buffer *text)
{
    more_status status = core_protobuf_expect(message, field, CORE_WIRE_BYTES, l->error);
    if (status != MORE_OK)
        return status;
    if (core_utf8_check((const char *)field->data, field->size) != field->size)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: a text of the trainer's settings is not UTF-8", l->name);
    core_buffer_clear(text);
    core_buffer_append(text, field->data, field->size);
    return text->failed ? out_of_memory(l) : MORE_OK;
}

static more_status set_flag(const loading *l, const core_protobuf *message, const core_field *field, bool *flag)
{
    *flag = field->value != 0;
    return core_protobuf_expect(message, field, CORE_WIRE_VARINT, l->error);
}

static more_status set_model_type(const loading *l, const core_protobuf *message, const core_field *field)
{
    static const char *const names[] = {"WORD", "CHAR"};
    l->model->unigram = field->value == TYPE_UNIGRAM;
    if (field->wire == CORE_WIRE_VARINT && field->value != TYPE_UNIGRAM && field->value != TYPE_BPE)
        return more_fail(l->error, MORE_ERROR_UNSUPPORTED,
                         "%s: the SentencePiece model type %s is not supported; BPE and "
                         "UNIGRAM are",
                         l->name, field->value - 3 < 2 ? names[field->value - 3] : "that is not known");
    return core_protobuf_expect(message, field, CORE_WIRE_VARINT, l->error);
}

static more_status take_trainer(loading *l, const core_protobuf *message, const core_field *field)
{
    core_sentencepiece *model = l->model;
    switch (field->number) {
    case TRAINER_MODEL_TYPE:
        return set_model_type(l, message, field);
    case TRAINER_SPACE_AS_SUFFIX:
        return set_flag(l, message, field, &model->space_as_suffix);
    case TRAINER_BYTE_FALLBACK:
        return set_flag(l, message, field, &model->byte_fallback);
    case TRAINER_UNKNOWN_SURFACE:
        return set_text(l, message, field, &model->unknown_surface);
    case TRAINER_BOS:
        return set_text(l, message, field, &l->bos);
    case TRAINER_EOS:
        return set_text(l, message, field, &l->eos);
    default:
        return MORE_OK;
    }
}

/* <size of the double array: u32><its units: u32 each><texts, each ended by NUL>, little-endian. */
static more_status set_charsmap(const loading *l, const core_protobuf *message, const core_field *field)
{
    core_sentencepiece *model = l->model;
    more_status status = core_protobuf_expect(message, field, CORE_WIRE_BYTES, l->error);
    if (status != MORE_OK || !field->size)
        return status;
    const unsigned char *data = field->data;
    size_t size =
        field->size < 4 ? 0 : (size_t)data[0] | (size_t)data[1] << 8 | (size_t)data[2] << 16 | (size_t)data[3] << 24;
    if (field->size < 4 || size > field->size - 4 || size % 4 || !size)
        return more_fail(l->error, MORE_ERROR_CORRUPT,
                         "%s: normalizer_spec.precompiled_charsmap of %zu bytes holds no double array of %zu", l->name,
                         field->size, size);
    free(model->charsmap);
    model->charsmap_size = size / 4;
    model->charsmap = malloc(size);
    core_buffer_clear(&model->replacements);
    core_buffer_append(&model->replacements, data + 4 + size, field->size - 4 - size);
    if (!model->charsmap || model->replacements.failed)
        return out_of_memory(l);
    for (size_t i = 0; i < model->charsmap_size; i++) {
        const unsigned char *unit = data + 4 + 4 * i;
        model->charsmap[i] =
            (uint32_t)unit[0] | (uint32_t)unit[1] << 8 | (uint32_t)unit[2] << 16 | (uint32_t)unit[3] << 24;
    }
    if (core_utf8_check(model->replacements.data, model->replacements.size) != model->replacements.size)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: the texts of precompiled_charsmap are not UTF-8", l->name);
    return MORE_OK;
}

static more_status take_normalizer(loading *l, const core_protobuf *message, const core_field *field)
{
    core_sentencepiece *model = l->model;
    switch (field->number) {
    case NORMALIZER_CHARSMAP:
        return set_charsmap(l, message, field);
    case NORMALIZER_PREFIX:
        return set_flag(l, message, field, &model->dummy_prefix);
    case NORMALIZER_EXTRA_SPACES:
        return set_flag(l, message, field, &model->remove_extra_spaces);
    case NORMALIZER_ESCAPE:
        return set_flag(l, message, field, &model->escape_spaces);
    default:
        return MORE_OK;
    }
}

/* A denormalizer rewrites the text as a whole, which no stream can. */
static more_status take_denormalizer(loading *l, const core_protobuf *message, const core_field *field)
{
    (void)message;
    if (field->number == NORMALIZER_CHARSMAP && field->size)
        return more_fail(l->error, MORE_ERROR_UNSUPPORTED,
                         "%s: denormalizer_spec.precompiled_charsmap is not supported; only models without one are",
                         l->name);
    return MORE_OK;
}

typedef more_status (*take_field)(loading *l, const core_protobuf *message, const core_field *field);

static more_status read_fields(loading *l, core_protobuf message, take_field take)
{
    core_field field;
    more_status status = MORE_OK;
    while (message.at < message.end && status == MORE_OK) {
        status = core_protobuf_next(&message, &field, l->error);
        if (status == MORE_OK)
            status = take(l, &message, &field);
    }
    return status;
}

static more_status take_part(loading *l, const core_protobuf *message, const core_field *field)
{
    bool ours = field->number <= MODEL_NORMALIZER || field->number == MODEL_DENORMALIZER;
    more_status status = ours ? core_protobuf_expect(message, field, CORE_WIRE_BYTES, l->error) : MORE_OK;
    if (status != MORE_OK || !ours)
        return status;
    core_protobuf inside = core_protobuf_inside(message, field);
    if (field->number == MODEL_PIECES)
        return read_piece(l, inside);
    return read_fields(l, inside,
                       field->number == MODEL_TRAINER      ? take_trainer
                       : field->number == MODEL_NORMALIZER ? take_normalizer
                                                           : take_denormalizer);
}

static more_status check(const loading *l)
{
    const core_sentencepiece *model = l->model;
    if (model->unknown < 0)
        return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: of its %d pieces none has the type UNKNOWN", l->name,
                         model->vocabulary.size);
    for (int byte = 0; byte < 256; byte++)
        if ((model->bytes[byte] >= 0) != model->byte_fallback)
            return more_fail(l->error, MORE_ERROR_CORRUPT, "%s: byte_fallback is %s, but the piece <0x%02X> is %s",
                             l->name, model->byte_fallback ? "on" : "off", (unsigned)byte,
                             model->byte_fallback ? "missing" : "there");
    return MORE_OK;
}

/* Higher scores first. */
static int by_score(const void *left, const void *right)
{
    const float *a = *(const float *const *)left, *b = *(const float *const *)right;
    return *a > *b ? -1 : *a < *b;
}

static bool rank_pieces(core_sentencepiece *model)
{
    size_t count = (size_t)model->vocabulary.size;
    const float **order = malloc(count * sizeof *order);
    model->ranks = malloc(count * sizeof *model->ranks);
    if (!order || !model->ranks) {
        free(order);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = &model->scores[i];
    qsort(order, count, sizeof *order, by_score);
    uint32_t rank = 0;
    for (size_t i = 0; i < count; i++) {
        rank += i && *order[i] < *order[i - 1];
        model->ranks[order[i] - model->scores] = rank;
    }
    free(order);
    return true;
}

static bool collect_words(core_sentencepiece *model)
{
    for (int32_t id = 0; id < model->vocabulary.size; id++) {
        size_t size;
        const char *text = core_vocabulary_piece(&model->vocabulary, id, &size);
        bool word = model->types[id] == CORE_PIECE_NORMAL || model->types[id] == CORE_PIECE_USER_DEFINED;
        if (word && !core_trie_add(&model->words, text, size, (uint32_t)id))
            return false;
    }
    return true;
}

/* Id of a control piece that the trainer's settings name. */
static int32_t control(const core_sentencepiece *model, const core_buffer *text)
{
    int32_t id = text->size ? core_vocabulary_find(&model->vocabulary, text->data, text->size) : -1;
    return id >= 0 && model->types[id] == CORE_PIECE_CONTROL ? id : -1;
}

more_status core_sentencepiece_load(const unsigned char *data, size_t size, const char *name, core_sentencepiece *model,
                                    more_error *error)
{
    loading l = {.model = model, .name = name, .error = error};
    core_protobuf file = {data, data + size, data, name};
    model->unknown = -1;
    memset(model->bytes, 0xFF, sizeof model->bytes);
    model->least = FLT_MAX;
    model->unigram = model->dummy_prefix = model->remove_extra_spaces = model->escape_spaces = true;
    core_buffer_text(&model->unknown_surface, " \xE2\x81\x87 ");
    core_buffer_text(&l.bos, "<s>");
    core_buffer_text(&l.eos, "</s>");
    more_status status = l.bos.failed || l.eos.failed || model->unknown_surface.failed
                             ? out_of_memory(&l)
                             : read_fields(&l, file, take_part);
    if (status == MORE_OK)
        status = check(&l);
    if (status == MORE_OK && !(model->unigram ? collect_words(model) : rank_pieces(model)))
        status = out_of_memory(&l);
    model->bos = control(model, &l.bos);
    model->eos = control(model, &l.eos);
    core_buffer_free(&l.bos);
    core_buffer_free(&l.eos);
    return status;
}

void core_sentencepiece_free(core_sentencepiece *model)
{
    core_vocabulary_free(&model->vocabulary);
    free(model->scores);
    free(model->types);
    free(model->ranks);
    core_trie_free(&model->user);
    core_trie_free(&model->words);
    core_buffer_free(&model->unknown_surface);
    free(model->charsmap);
    core_buffer_free(&model->replacements);
    *model = (core_sentencepiece){0};
}
