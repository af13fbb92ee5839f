/* SPDX-License-Identifier: Apache-2.0
 *
 * SentencePiece models against the sentencepiece package, and folders that hold one against transformers' slow
 * tokenizers: tests/parity/data/tokens/sentencepiece.
 */
#include "base/file.h"
#include "tokens.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define DATA TOKENS_DATA "sentencepiece/"

static void test_model(void **state)
{
    const char *name = *state;
    char path[256];
    core_buffer bytes = {0};
    core_tokenizer *tokenizer;
    tokens_arrays a;
    more_error error;
    snprintf(path, sizeof path, DATA "%s/tokenizer.model.xz", name);
    tokens_unpack(tokens_path(path), &bytes);
    if (core_tokenizer_parse_pieces((const unsigned char *)bytes.data, bytes.size, path, &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    core_buffer_free(&bytes);
    json_t *strings = tokens_json(TOKENS_DATA "strings.json");
    assert_true(json_array_size(strings) > 2000);
    snprintf(path, sizeof path, DATA "%s/ids.safetensors.xz", name);
    tokens_open_arrays(tokens_path(path), &a);
    snprintf(path, sizeof path, DATA "%s/decode.json", name);
    json_t *texts = tokens_json(path);
    size_t compared = tokens_compare_ids(name, tokenizer, strings, &a, "ids", "offsets", 0);
    assert_int_equal(compared, json_array_size(strings));
    tokens_compare_decoding(name, tokenizer, &a, texts);
    print_message("%s: ids of %zu strings equal\n", name, compared);
    tokens_close_arrays(&a);
    json_decref(texts);
    json_decref(strings);
    core_tokenizer_destroy(tokenizer);
}

static void test_folder(void **state)
{
    const char *name = *state;
    char path[256];
    core_tokenizer *tokenizer;
    tokens_arrays a;
    more_error error;
    snprintf(path, sizeof path, DATA "%s", name);
    if (core_tokenizer_load(tokens_path(path), &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    json_t *strings = tokens_json(DATA "folder_strings.json");
    snprintf(path, sizeof path, DATA "%s/ids.safetensors.xz", name);
    tokens_open_arrays(tokens_path(path), &a);
    size_t compared = tokens_compare_ids(name, tokenizer, strings, &a, "ids", "offsets", CORE_ENCODE_SPECIAL);
    assert_int_equal(compared, json_array_size(strings));
    print_message("%s: ids of %zu strings equal\n", name, compared);
    tokens_close_arrays(&a);
    json_decref(strings);
    core_tokenizer_destroy(tokenizer);
}

/* A model of pieces "unk", "s", "a" and more, byte by byte. */
typedef struct made_model {
    unsigned char bytes[512];
    size_t size;
} made_model;

static void put(made_model *model, const void *bytes, size_t size)
{
    assert_true(model->size + size <= sizeof model->bytes);
    memcpy(model->bytes + model->size, bytes, size);
    model->size += size;
}

static void put_piece(made_model *model, const char *text, const char score[4], char type)
{
    unsigned char size = (unsigned char)strlen(text);
    unsigned char head[] = {0x0A, (unsigned char)(size + 9), 0x0A, size}, tail[] = {0x18, (unsigned char)type};
    put(model, head, 4);
    put(model, text, size);
    put(model, "\x15", 1);
    put(model, score, 4);
    put(model, tail, 2);
}

static void refused(const made_model *model, size_t size, more_status status, const char *message)
{
    core_tokenizer *tokenizer;
    more_error error;
    assert_int_equal(core_tokenizer_parse_pieces(model->bytes, size, "x.model", &tokenizer, &error), status);
    if (!strstr(error.message, message) || strncmp(error.message, "x.model: ", 9))
        fail_msg("'%s' does not say '%s'", error.message, message);
    assert_null(tokenizer);
}

#define SCORE "\0\0\0\0"

static void test_refusals(void **state)
{
    static const struct {
        const char *text, *score;
        char type;
        const char *message;
    } pieces[] = {{"", SCORE, 1, "piece 2 ('') has no text"},
                  {"\xC3", SCORE, 1, "piece 2 ('\xC3') is not UTF-8"},
                  {"<s>", SCORE, 1, "piece 2 ('<s>') stands in the model twice"},
                  {"b", "\0\0\xC0\x7F", 1, "piece 2 ('b') has a score that is not finite"},
                  {"b", SCORE, 9, "piece 2 ('b') has a type that is not known"},
                  {"b", SCORE, 2, "piece 2 ('b') is a second unknown piece"},
                  {"b", SCORE, 6, "piece 2 ('b') has the type BYTE"},
                  {"<0x41>", SCORE, 6, "byte_fallback is off, but the piece <0x41> is there"}};
    static const struct {
        const char *bytes;
        size_t size;
        more_status status;
        const char *message;
    } parts[] = {{"\x12\x02\x18\x03", 4, MORE_ERROR_UNSUPPORTED, "model type WORD"},
                 {"\x12\x03\x98\x02\x01", 5, MORE_ERROR_CORRUPT, "<0x00> is missing"},
                 {"\x1A\x05\x12\x03\x01\x02\x03", 7, MORE_ERROR_CORRUPT, "holds no double array"},
                 {"\x1A\x06\x12\x04\xFF\xFF\xFF\xFF", 8, MORE_ERROR_CORRUPT, "holds no double array"},
                 {"\x2A\x03\x12\x01\x41", 5, MORE_ERROR_UNSUPPORTED, "denormalizer_spec"},
                 {"\x12\x7F", 2, MORE_ERROR_CORRUPT, "byte 30: a field"},
                 {"\x0B", 1, MORE_ERROR_CORRUPT, "byte 30: a field of no known kind"},
                 {"\x08\x01", 2, MORE_ERROR_CORRUPT, "wrong kind"},
                 {"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01", 11, MORE_ERROR_CORRUPT, "no field begins here"}};
    made_model base = {.size = 0};
    core_tokenizer *tokenizer;
    more_error error;
    (void)state;
    put_piece(&base, "<unk>", SCORE, 2);
    put_piece(&base, "<s>", SCORE, 3);
    assert_int_equal(core_tokenizer_parse_pieces(base.bytes, base.size, "x.model", &tokenizer, &error), MORE_OK);
    core_tokenizer_destroy(tokenizer);
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        made_model model = base;
        put_piece(&model, pieces[i].text, pieces[i].score, pieces[i].type);
        refused(&model, model.size, MORE_ERROR_CORRUPT, pieces[i].message);
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        made_model model = base;
        put(&model, parts[i].bytes, parts[i].size);
        refused(&model, model.size, parts[i].status, parts[i].message);
    }
    refused(&base, 0, MORE_ERROR_CORRUPT, "none has the type UNKNOWN");
    for (size_t cut = 1; cut < base.size; cut++)
        if (cut != 16)
            refused(&base, cut, MORE_ERROR_CORRUPT, "is it a SentencePiece model?");
}

int main(void)
{
    static char *const models[] = {"llama2",        "gemma",     "rules",    "unigram",
                                   "unigram_bytes", "unescaped", "hand_bpe", "hand_unigram"};
    static char *const folders[] = {"folder_llama2", "folder_once", "folder_gemma"};
    enum { MODELS = sizeof models / sizeof *models, FOLDERS = sizeof folders / sizeof *folders };
    struct CMUnitTest tests[MODELS + FOLDERS + 1] = {cmocka_unit_test(test_refusals)};
    for (size_t i = 0; i < MODELS; i++)
        tests[1 + i] = (struct CMUnitTest){models[i], test_model, NULL, NULL, models[i]};
    for (size_t i = 0; i < FOLDERS; i++)
        tests[1 + MODELS + i] = (struct CMUnitTest){folders[i], test_folder, NULL, NULL, folders[i]};
    return cmocka_run_group_tests_name("sentencepiece", tests, NULL, NULL);
}
