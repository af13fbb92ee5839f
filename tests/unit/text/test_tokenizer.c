/* SPDX-License-Identifier: Apache-2.0
 *
 * The tokenizer engine beyond what the reference data reach: refusals, broken text, components that no shipped file
 * has, long inputs, and the streaming detokenizer's promises. The ids themselves are held against the tokenizers
 * package by tests/parity/test_tokens.c; the ids of the components below were checked with it once.
 */
#include "text/engine/utf8.h"
#include "text/stream.h"
#include "text/tokenizer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

/* A model of the letters a to e, a blank, and a few merges. */
#define MODEL(flags)                                                                                                   \
    "\"model\":{\"type\":\"BPE\"," flags "\"vocab\":{\"a\":0,\"b\":1,\"c\":2,\"d\":3,\"e\":4,\" \":5,\"ab\":6,"        \
    "\"abc\":7,\"1\":8,\"2\":9,\"12\":10,\"\xE2\x96\x81\":11,\"\xE2\x96\x81\x61\":12,\"<unk>\":13,\".\":14,"           \
    "\"i\":15,\"\xCC\x87\":16},\"merges\":[\"a b\",\"ab c\",\"1 2\",\"\xE2\x96\x81 a\"]}"
#define UNKNOWN "\"unk_token\":\"<unk>\","

static core_tokenizer *parse(const char *json)
{
    core_tokenizer *tokenizer;
    more_error error;
    if (core_tokenizer_parse(json, strlen(json), "test.json", &tokenizer, &error) != MORE_OK)
        fail_msg("%s", error.message);
    return tokenizer;
}

/* Encodes and writes the ids as "1 2 3". */
static void encode(const core_tokenizer *tokenizer, const char *text, char result[256])
{
    core_ids ids = {0};
    more_error error;
    if (core_tokenizer_encode(tokenizer, text, strlen(text), 0, &ids, &error) != MORE_OK)
        fail_msg("%s", error.message);
    result[0] = '\0';
    for (size_t i = 0; i < ids.count; i++)
        sprintf(result + strlen(result), "%s%d", i ? " " : "", ids.data[i]);
    core_ids_free(&ids);
}

static void expect(const char *json, const char *text, const char *ids)
{
    core_tokenizer *tokenizer = parse(json);
    char result[256];
    encode(tokenizer, text, result);
    if (strcmp(result, ids))
        fail_msg("%s\n'%s' gives %s, not %s", json, text, result, ids);
    core_tokenizer_destroy(tokenizer);
}

static void test_model(void **state)
{
    (void)state;
    expect("{" MODEL("") "}", "abcab", "7 6");
    expect("{" MODEL("") "}", "axb", "6"); /* without unk_token what is unknown goes, and its neighbours meet */
    expect("{" MODEL(UNKNOWN) "}", "axyb", "0 13 13 1");
    expect("{" MODEL(UNKNOWN "\"fuse_unk\":true,") "}", "axyb", "0 13 1");
    expect("{" MODEL("\"ignore_merges\":true,") "}", "\xE2\x96\x81\x61", "12");
    expect("{\"model\":{\"vocab\":{\"a\":0,\"b\":1,\"ab\":2},\"merges\":[[\"a\",\"b\"]]}}", "abb", "2 1");
    expect("{\"model\":{\"vocab\":{},\"merges\":[]}}", "abc", "");
    expect("{\"model\":{\"vocab\":{\"\\u0061\\ud83d\\ude00\\n\":0,\"a\":1,\"\\u00e9\":2},\"merges\":[]}}",
           "\xC3\xA9\x61", "2 1");
}

static void test_normalizers(void **state)
{
    (void)state;
    expect("{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL("") "}", "ABC", "7");
    expect("{\"normalizer\":{\"type\":\"Lowercase\"}," MODEL("") "}", "\xC4\xB0", "15 16");
    expect("{\"normalizer\":{\"type\":\"Strip\",\"strip_left\":true,\"strip_right\":false}," MODEL("") "}",
           " \xE3\x80\x80 a ", "0 5");
    expect("{\"normalizer\":{\"type\":\"NFKC\"}," MODEL("") "}", "\xEF\xBD\x81\xEF\xBD\x82", "6");
    expect("{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"x+\"},\"content\":\"b\"}," MODEL("") "}",
           "axxxc", "7");
    expect("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\"a\"},"
           "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"}]}]}," MODEL("") "}",
           "bc", "7");
}

static void test_pretokenizers(void **state)
{
    static const struct {
        const char *json, *text, *ids;
    } cases[] = {
        {"{\"type\":\"Digits\",\"individual_digits\":true}", "12", "8 9"},
        {"{\"type\":\"Digits\",\"individual_digits\":false}", "ab12", "6 10"},
        {"{\"type\":\"Punctuation\"}", "ab.c", "6 14 2"},
        {"{\"type\":\"Whitespace\"}", "ab c", "6 2"},
        {"{\"type\":\"WhitespaceSplit\"}", "a b.c", "0 1 14 2"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"Removed\",\"invert\":false}", "abc", "0 2"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"Isolated\",\"invert\":false}", "abc",
         "0 1 2"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"b\"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}",
         "abc", "6 2"},
        {"{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"MergedWithNext\",\"invert\":false}",
         "abcab", "7 6"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ab]\"},\"behavior\":\"Contiguous\",\"invert\":false}", "abc",
         "6 2"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[ab]+\"},\"behavior\":\"Removed\",\"invert\":true}", "abcdab",
         "6 6"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[12]{1,1}+\"},\"behavior\":\"Isolated\"}", "a12", "0 10"},
        /* U+180E: a space to PCRE2's \\s, none to Oniguruma */
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"behavior\":\"Removed\"}",
         "a\xE1\xA0\x8E"
         "b",
         "6"},
        /* U+16D43: a letter since Unicode 16 */
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\P{L}+\"},\"behavior\":\"Removed\"}",
         "a\xF0\x96\xB5\x83"
         "b",
         "6"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"first\",\"split\":true}", "a a",
         "12 12"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"prepend_scheme\":\"never\",\"split\":false}",
         "a a", "0 12"},
        {"{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\",\"add_prefix_space\":false}", "a a", "0 12"},
    };
    char json[2048];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(json, sizeof json, "{\"pre_tokenizer\":%s," MODEL("") "}", cases[i].json);
        expect(json, cases[i].text, cases[i].ids);
    }
}

static const struct {
    const char *json, *message;
    more_status status;
} refused[] = {
    {"", "not valid JSON", MORE_ERROR_CORRUPT},
    {"{}", "no 'model' object", MORE_ERROR_CORRUPT},
    {"[1]", "no 'model' object", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", "model.type 'Unigram'", MORE_ERROR_UNSUPPORTED},
    {"{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges is missing", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":-1},\"merges\":[]}}", "a token's id", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":99999999},\"merges\":[]}}", "id 99999999", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":0 \"b\":1},\"merges\":[]}}", "expected a comma", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"\\ud800\":0},\"merges\":[]}}", "a valid escape", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"\xC3(\":0},\"merges\":[]}}", "UTF-8", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"a a\"]}}", "number 0 ('a' and 'a')", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[\"aa\"]}}", "a merge of two texts", MORE_ERROR_CORRUPT},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[[\"a\"]]}}", "two texts in a merge", MORE_ERROR_CORRUPT},
    {"{" MODEL("\"dropout\":0.1,") "}", "model.dropout", MORE_ERROR_UNSUPPORTED},
    {"{" MODEL("\"end_of_word_suffix\":\"</w>\",") "}", "end_of_word_suffix", MORE_ERROR_UNSUPPORTED},
    {"{" MODEL("\"unk_token\":\"<none>\",") "}", "'<none>' is not in", MORE_ERROR_CORRUPT},
    {"{" MODEL("\"byte_fallback\":1,") "}", "byte_fallback must be true or false", MORE_ERROR_CORRUPT},
    {"{\"normalizer\":{\"type\":\"BertNormalizer\"}," MODEL("") "}", "normalizer: type 'BertNormalizer'",
     MORE_ERROR_UNSUPPORTED},
    {"{\"normalizer\":{\"type\":\"Sequence\"}," MODEL("") "}", "'normalizers' must be an array", MORE_ERROR_CORRUPT},
    {"{\"normalizer\":{}," MODEL("") "}", "an object with a 'type'", MORE_ERROR_CORRUPT},
    {"{\"pre_tokenizer\":{\"type\":\"UnicodeScripts\"}," MODEL("") "}", "'UnicodeScripts' is not",
     MORE_ERROR_UNSUPPORTED},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}," MODEL("") "}",
     "PCRE2 cannot compile", MORE_ERROR_UNSUPPORTED},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}," MODEL(
         "") "}",
     "intersection", MORE_ERROR_UNSUPPORTED},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"\"},\"behavior\":\"Isolated\"}," MODEL("") "}",
     "empty pattern", MORE_ERROR_UNSUPPORTED},
    {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\"a\"},\"behavior\":\"Kept\"}," MODEL("") "}",
     "one of Removed, Isolated", MORE_ERROR_CORRUPT},
    {"{\"decoder\":{\"type\":\"WordPiece\"}," MODEL("") "}", "decoder: type 'WordPiece'", MORE_ERROR_UNSUPPORTED},
    {"{\"post_processor\":{\"type\":\"BertProcessing\"}," MODEL("") "}", "'BertProcessing'", MORE_ERROR_UNSUPPORTED},
    {"{\"post_processor\":{\"type\":\"TemplateProcessing\",\"single\":[]}," MODEL("") "}", "0 times",
     MORE_ERROR_UNSUPPORTED},
    {"{\"added_tokens\":[{\"content\":1}]," MODEL("") "}", "'content' must be a string", MORE_ERROR_CORRUPT},
};

static void test_refusals(void **state)
{
    core_tokenizer *tokenizer;
    more_error error;
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++) {
        more_status status =
            core_tokenizer_parse(refused[i].json, strlen(refused[i].json), "test.json", &tokenizer, &error);
        if (status != refused[i].status || !strstr(error.message, refused[i].message))
            fail_msg("case %zu (%s): status %d, '%s'", i, refused[i].json, status,
                     status == MORE_OK ? "" : error.message);
        assert_non_null(strstr(error.message, "test.json"));
        assert_null(tokenizer);
    }
}

/* Every cut of a real file is refused, without a leak or a read past its end. */
static void test_truncated(void **state)
{
    static const char whole[] =
        "{\"added_tokens\":[{\"content\":\"<s>\"}],\"normalizer\":{\"type\":\"NFC\"}," MODEL(UNKNOWN) "}";
    (void)state;
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        core_tokenizer *tokenizer;
        more_error error;
        char *cut = malloc(size + 1);
        memcpy(cut, whole, size);
        assert_int_not_equal(core_tokenizer_parse(cut, size, "cut.json", &tokenizer, &error), MORE_OK);
        free(cut);
    }
}

static void test_broken_text(void **state)
{
    core_tokenizer *tokenizer = parse("{" MODEL(UNKNOWN) "}");
    core_ids ids = {0};
    char result[256];
    more_error error;
    (void)state;
    assert_int_equal(core_tokenizer_encode(tokenizer, "ab\xF0\x9F\x98", 5, CORE_ENCODE_STRICT, &ids, &error),
                     MORE_ERROR_ARGUMENT);
    assert_non_null(strstr(error.message, "0xF0 at offset 2"));
    assert_int_equal(ids.count, 0);
    encode(tokenizer,
           "ab\xF0\x9F\x98\xFF"
           "c\xED\xA0\x80",
           result);
    assert_string_equal(result, "6 13 13 2 13 13 13"); /* a cut character, FF, and three bytes of a surrogate */
    assert_int_equal(core_tokenizer_encode(tokenizer, "a\0b", 3, CORE_ENCODE_STRICT, &ids, &error), MORE_OK);
    assert_int_equal(ids.count, 3);
    core_ids_free(&ids);
    core_tokenizer_destroy(tokenizer);
}

static void test_lookup(void **state)
{
    core_tokenizer *tokenizer = parse(
        "{\"added_tokens\":[{\"content\":\"<s>\",\"special\":true},{\"content\":\"ab\"}],\"post_processor\":{\"type\":"
        "\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<s>\"}},{\"Sequence\":{\"id\":\"A\"}}],"
        "\"special_tokens\":{\"<s>\":{\"ids\":[17]}}}," MODEL("") "}");
    core_ids ids = {0};
    size_t size;
    (void)state;
    assert_int_equal(core_tokenizer_size(tokenizer), 18);
    assert_int_equal(core_tokenizer_id(tokenizer, "<s>"), 17);
    assert_int_equal(core_tokenizer_id(tokenizer, "abc"), 7);
    assert_int_equal(core_tokenizer_id(tokenizer, "x"), -1);
    assert_memory_equal(core_tokenizer_piece(tokenizer, 17, &size), "<s>", 3);
    assert_int_equal(size, 3);
    assert_null(core_tokenizer_piece(tokenizer, 18, NULL));
    assert_null(core_tokenizer_piece(tokenizer, -1, NULL));
    assert_true(core_tokenizer_is_special(tokenizer, 17) && !core_tokenizer_is_special(tokenizer, 6));
    assert_int_equal(core_tokenizer_bos(tokenizer), 17);
    assert_int_equal(core_tokenizer_eos(tokenizer), -1);
    assert_true(core_tokenizer_adds_bos(tokenizer));
    assert_int_equal(core_tokenizer_encode(tokenizer, "", 0, CORE_ENCODE_SPECIAL, &ids, NULL), MORE_OK);
    assert_int_equal(ids.count, 1);
    core_ids_free(&ids);
    core_tokenizer_destroy(tokenizer);
}

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* A folder: the configuration beside names BOS and EOS, and holds numbers above any integer. */
static void test_folder(void **state)
{
    char folder[] = "/tmp/test_tokenizer_XXXXXX", path[512];
    core_tokenizer *tokenizer;
    more_error error;
    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(core_tokenizer_load(folder, &tokenizer, &error), MORE_ERROR_NOT_FOUND);
    write_file(folder, "tokenizer.json", "{" MODEL("") "}");
    write_file(folder, "tokenizer_config.json",
               "{\"model_max_length\":1000000000000000019884624838656,\"bos_token\":\"ab\",\"eos_token\":{\"content\":"
               "\"abc\"}}");
    assert_int_equal(core_tokenizer_load(folder, &tokenizer, &error), MORE_OK);
    assert_int_equal(core_tokenizer_bos(tokenizer), 6);
    assert_int_equal(core_tokenizer_eos(tokenizer), 7);
    assert_false(core_tokenizer_adds_bos(tokenizer));
    core_tokenizer_destroy(tokenizer);
    write_file(folder, "tokenizer_config.json", "{");
    assert_int_equal(core_tokenizer_load(folder, &tokenizer, &error), MORE_ERROR_CORRUPT);
    assert_non_null(strstr(error.message, "tokenizer_config.json:1"));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(core_tokenizer_load(path, &tokenizer, &error), MORE_OK);
    core_tokenizer_destroy(tokenizer);
    unlink(path);
    rmdir(folder);
}

/* One piece of a megabyte: the time grows with n log n, not with n squared. */
static void test_long_piece(void **state)
{
    core_tokenizer *tokenizer = parse("{" MODEL("") "}");
    size_t size = 1000000;
    char *text = malloc(size);
    core_ids ids = {0};
    struct timespec begin, end;
    (void)state;
    for (size_t i = 0; i < size; i++)
        text[i] = "abc"[i % 3];
    clock_gettime(CLOCK_MONOTONIC, &begin);
    assert_int_equal(core_tokenizer_encode(tokenizer, text, size, 0, &ids, NULL), MORE_OK);
    memset(text, 'a', size);
    assert_int_equal(core_tokenizer_encode(tokenizer, text, size, 0, &ids, NULL), MORE_OK);
    clock_gettime(CLOCK_MONOTONIC, &end);
    assert_int_equal(ids.count, 333334 + size);
    assert_true(end.tv_sec - begin.tv_sec < 20);
    core_ids_free(&ids);
    free(text);
    core_tokenizer_destroy(tokenizer);
}

#define BYTES(decoder)                                                                                                 \
    "{\"decoder\":" decoder ",\"model\":{\"vocab\":{\"<0xF0>\":0,\"<0x9F>\":1,\"<0x98>\":2,\"<0x80>\":3,\"a\":4,"      \
    "\"\xE2\x96\x81\":5,\"\xC3\xB0\":6,\"\xC5\x81\":7,\"\xC4\xBA\":8,\"\xC4\xA2\":9,\"\xE2\x96\x81\x61\":10},"         \
    "\"merges\":[]}}"

/* Pushes ids and says what came after each, separated by '|'. */
static void stream(const char *json, const int32_t *ids, size_t count, const char *expected)
{
    core_tokenizer *tokenizer = parse(json);
    core_buffer text = {0}, parts = {0};
    core_stream *s;
    more_error error;
    assert_int_equal(core_stream_create(tokenizer, false, &s, &error), MORE_OK);
    for (int round = 0; round < 2; round++) { /* finish starts anew */
        core_buffer_clear(&parts);
        for (size_t i = 0; i <= count; i++) {
            core_buffer_clear(&text);
            assert_int_equal(
                i < count ? core_stream_push(s, ids[i], &text, &error) : core_stream_finish(s, &text, &error), MORE_OK);
            core_buffer_format(&parts, "%s%s", i ? "|" : "", text.size ? text.data : "");
        }
        assert_string_equal(parts.data, expected);
    }
    core_stream_destroy(s);
    core_buffer_free(&text);
    core_buffer_free(&parts);
    core_tokenizer_destroy(tokenizer);
}

static void test_stream(void **state)
{
    static const int32_t smile[] = {4, 0, 1, 2, 3, 4}, broken[] = {0, 1, 4, 2}, letters[] = {6, 7, 8, 9, 4},
                         cut[] = {6, 7, 4, 9, 6}, spaces[] = {5, 10, 5}, none[] = {99, 4};
    (void)state;
    stream(BYTES("{\"type\":\"ByteFallback\"}"), smile, 6, "a|||||\xF0\x9F\x98\x80\x61|");
    stream(BYTES("{\"type\":\"ByteFallback\"}"), broken, 4, "||\xEF\xBF\xBD\xEF\xBF\xBD\x61||\xEF\xBF\xBD");
    stream(BYTES("{\"type\":\"ByteLevel\"}"), letters, 5, "|||\xF0\x9F\x98\x80|a|");
    stream(BYTES("{\"type\":\"ByteLevel\"}"), cut, 5, "||\xEF\xBF\xBD\x61|\xEF\xBF\xBD||\xEF\xBF\xBD");
    stream(BYTES("{\"type\":\"Metaspace\",\"replacement\":\"\xE2\x96\x81\"}"), spaces, 3, "| a| |");
    stream(
        BYTES(
            "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{\"String\":\"\xE2\x96\x81\"},"
            "\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\" \","
            "\"start\":1,\"stop\":0}]}"),
        spaces, 3, "| a| |");
    stream(BYTES("{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Fuse\"},{\"type\":\"Strip\",\"content\":\"a\","
                 "\"start\":0,"
                 "\"stop\":1}]}"),
           smile, 6, "||||||a<0xF0><0x9F><0x98><0x80>");
    stream(BYTES("null"), smile, 2, "a| <0xF0>|");
    stream(BYTES("null"), none, 2, "|a|");
}

static void test_utf8(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        core_utf8 verdict;
        size_t length;
    } cases[] = {{"a", 1, CORE_UTF8_WHOLE, 1},
                 {"\xC3\xA9", 2, CORE_UTF8_WHOLE, 2},
                 {"\xC3", 1, CORE_UTF8_CUT, 1},
                 {"\xC0\x80", 2, CORE_UTF8_BAD, 1},
                 {"\xE0\x80\x80", 3, CORE_UTF8_BAD, 1},
                 {"\xE2\x82", 2, CORE_UTF8_CUT, 2},
                 {"\xE2\x82x", 3, CORE_UTF8_BAD, 2},
                 {"\xED\xA0\x80", 3, CORE_UTF8_BAD, 1},
                 {"\xF4\x90\x80\x80", 4, CORE_UTF8_BAD, 1},
                 {"\xF4\x8F\xBF\xBF", 4, CORE_UTF8_WHOLE, 4},
                 {"\xF0\x9F\x98", 3, CORE_UTF8_CUT, 3},
                 {"\x80", 1, CORE_UTF8_BAD, 1}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t length;
        uint32_t code;
        assert_int_equal(core_utf8_next(cases[i].bytes, cases[i].size, &length, &code), cases[i].verdict);
        assert_int_equal(length, cases[i].length);
    }
    for (uint32_t code = 0; code < 0x110000; code += code == 0xD7FF ? 0x801 : 1) {
        core_buffer text = {0};
        size_t length;
        uint32_t back;
        core_utf8_append(&text, code);
        assert_int_equal(core_utf8_next(text.data, text.size, &length, &back), CORE_UTF8_WHOLE);
        assert_true(back == code && length == text.size);
        core_buffer_free(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model),    cmocka_unit_test(test_normalizers), cmocka_unit_test(test_pretokenizers),
        cmocka_unit_test(test_refusals), cmocka_unit_test(test_truncated),   cmocka_unit_test(test_broken_text),
        cmocka_unit_test(test_lookup),   cmocka_unit_test(test_folder),      cmocka_unit_test(test_long_piece),
        cmocka_unit_test(test_stream),   cmocka_unit_test(test_utf8)};
    return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
