/* SPDX-License-Identifier: Apache-2.0
 *
 * Tokenizers to GGUF files and back: the same ids for every string of tests/parity/data/tokens.
 */
#include "base/file.h"
#include "text/tokenizer_export.h"
#include "text/tokenizer_gguf.h"

#include "../parity/tokens.h"
#include "../unit/weights/made.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct tokenizer_case {
    const char *path;   /* below tests/parity/data/tokens; ".xz" is unpacked */
    const char *shared; /* below ../shared/tokenizers in place of it; NULL */
    const char *note;   /* what the one note must say; NULL = there must be none */
    /* Strings that may get other ids, of a thousand: those of the note, and where runs of U+2581 are added tokens,
     * which the file has as pieces, texts that have U+2581 themselves, and where a plain word is an added token, what
     * stands behind it. */
    int differing;
} tokenizer_case;

static const tokenizer_case cases[] = {
    {"small/llama3/tokenizer.json", NULL, NULL, 0},
    {"small/deepseek/tokenizer.json", NULL, NULL, 0},
    {"small/o200k/tokenizer.json", NULL, NULL, 0},
    {"small/cl100k/tokenizer.json", NULL, NULL, 0},
    {"small/phi4mini/tokenizer.json", NULL, "swallow blanks", 10},
    {"small/gemma/tokenizer.json", NULL, NULL, 5},
    {"small/llama2/tokenizer.json", NULL, NULL, 0},
    {"small/metaspace/tokenizer.json", NULL, "in front of the first alone", 1000},
    {"sentencepiece/llama2/tokenizer.model.xz", NULL, NULL, 0},
    {"sentencepiece/gemma/tokenizer.model.xz", NULL, NULL, 0},
    {"sentencepiece/folder_llama2", NULL, "swallow blanks", 25},
    {"sentencepiece/folder_gemma", NULL, NULL, 5},
    {"sentencepiece/folder_once", NULL, "in front of the first alone", 1000},
    {NULL, "llama3_1", NULL, 0},
    {NULL, "o200k", NULL, 0},
    {NULL, "cl100k", NULL, 0},
    {NULL, "gemma", NULL, 5},
    {NULL, "llama2", NULL, 0},
};

typedef struct fixture {
    char *folder, *source, *file, *rules;
    core_tokenizer *tokenizer, *again;
    json_t *notes;
    more_error error;
} fixture;

/* Where the tokenizer is: unpacked in the test's folder where it is packed. False = a real one that is not at hand. */
static bool find_source(fixture *f, const tokenizer_case *c)
{
    char path[8192];
    const char *shared = getenv("LLAVAMORE_SHARED");
    if (c->shared)
        snprintf(path, sizeof path, "%s/tokenizers/%s/tokenizer.json.xz", shared ? shared : tokens_path("../shared"),
                 c->shared);
    else
        snprintf(path, sizeof path, "%s%s", tokens_path(TOKENS_DATA), c->path);
    if (!strstr(path, ".xz")) {
        f->source = strdup(path);
        return true;
    }
    if (!core_file_exists(path))
        return false;
    core_buffer text = {0};
    const char *name = strstr(path, ".model") ? "tokenizer.model" : "tokenizer.json";
    tokens_unpack(path, &text);
    made_file(f->folder, name, text.data, text.size);
    core_buffer_free(&text);
    f->source = core_path_join(f->folder, name);
    return true;
}

static void write_file(fixture *f)
{
    core_gguf_writer *writer = core_gguf_writer_create(f->file);
    core_tokenizer_source source = {
        .path = f->source, .tokenizer = f->tokenizer, .rules = f->rules, .rows = core_tokenizer_size(f->tokenizer) + 3};
    if (core_tokenizer_export(&source, writer, f->notes, &f->error) != MORE_OK ||
        core_gguf_writer_begin(writer, &f->error) != MORE_OK || core_gguf_writer_end(writer, &f->error) != MORE_OK ||
        core_gguf_writer_commit(writer, &f->error) != MORE_OK)
        fail_msg("%s", f->error.message);
    core_gguf_writer_free(writer);
}

static bool same_ids(const core_ids *a, const core_ids *b)
{
    return a->count == b->count && (!a->count || !memcmp(a->data, b->data, a->count * sizeof *a->data));
}

/* How many of the strings get other ids; the first one is told. */
static int count_differing(const fixture *f, json_t *strings, int flags)
{
    int count = 0;
    size_t i;
    json_t *string;
    json_array_foreach(strings, i, string)
    {
        core_ids a = {0}, b = {0};
        const char *text = json_string_value(string);
        size_t size = json_string_length(string);
        assert_int_equal(core_tokenizer_encode(f->tokenizer, text, size, flags, &a, NULL), MORE_OK);
        assert_int_equal(core_tokenizer_encode(f->again, text, size, flags, &b, NULL), MORE_OK);
        if (!same_ids(&a, &b) && !count++)
            print_message("first other ids: %.80s\n", text);
        core_ids_free(&a);
        core_ids_free(&b);
    }
    return count;
}

/* Every id's text and kind. */
static void compare_pieces(const fixture *f)
{
    for (int32_t id = 0; id < core_tokenizer_size(f->tokenizer); id++) {
        size_t size = 0, other = 0;
        const char *text = core_tokenizer_piece(f->tokenizer, id, &size);
        const char *again = core_tokenizer_piece(f->again, id, &other);
        if (!text)
            continue;
        if (size == 1 && other == 6 && again && !strncmp(again, "<0x", 3)) /* a character as the byte that it is */
            continue;
        if (!again || size != other || memcmp(text, again, size) != 0)
            fail_msg("token %d is '%.*s', not '%.*s'", (int)id, (int)other, again ? again : "", (int)size, text);
        assert_int_equal(core_tokenizer_is_special(f->again, id), core_tokenizer_is_special(f->tokenizer, id));
    }
}

static void compare(fixture *f, const tokenizer_case *c)
{
    json_t *strings = tokens_json(TOKENS_DATA "strings.json");
    size_t notes = json_array_size(f->notes);
    for (size_t i = 0; i < notes; i++)
        print_message("note: %s\n", json_string_value(json_array_get(f->notes, i)));
    assert_int_equal(notes, c->note != NULL);
    if (c->note)
        assert_non_null(strstr(json_string_value(json_array_get(f->notes, 0)), c->note));
    assert_int_equal(core_tokenizer_bos(f->again), core_tokenizer_bos(f->tokenizer));
    assert_int_equal(core_tokenizer_adds_bos(f->again), core_tokenizer_adds_bos(f->tokenizer));
    compare_pieces(f);
    int most = c->differing * (int)json_array_size(strings) / 1000;
    int plain = count_differing(f, strings, 0), special = count_differing(f, strings, CORE_ENCODE_SPECIAL);
    print_message("%d and %d of %zu strings with other ids\n", plain, special, json_array_size(strings));
    assert_true(plain <= most && special <= most);
    json_decref(strings);
}

static void there_and_back(void **state)
{
    const tokenizer_case *c = *state;
    fixture f = {.folder = made_folder(), .notes = json_array()};
    bool there = find_source(&f, c);
    if (!there)
        print_message("skipped: the real tokenizer %s is not at hand (LLAVAMORE_SHARED or ../shared)\n", c->shared);
    f.file = core_path_join(f.folder, "tokens.gguf");
    f.rules = strdup(tokens_path("share/layouts/gguf-tokenizers.json"));
    if (there) {
        if (core_tokenizer_load(f.source, &f.tokenizer, &f.error) != MORE_OK)
            fail_msg("%s", f.error.message);
        write_file(&f);
        if (core_tokenizer_load_gguf(f.file, f.rules, &f.again, &f.error) != MORE_OK)
            fail_msg("%s", f.error.message);
        compare(&f, c);
    }
    core_tokenizer_destroy(f.tokenizer);
    core_tokenizer_destroy(f.again);
    json_decref(f.notes);
    free(f.source);
    free(f.file);
    free(f.rules);
    made_remove(f.folder);
    if (!there)
        skip();
}

/* Kinds that the format has no place for are refused by name, not written wrong. */
static void refused(void **state)
{
    static const char *const paths[][2] = {{"sentencepiece/unigram/tokenizer.model.xz", "unigram"},
                                           {"small/metaspace_split/tokenizer.json", "Metaspace"}};
    (void)state;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        fixture f = {.folder = made_folder(), .notes = json_array()};
        assert_true(find_source(&f, &(tokenizer_case){paths[i][0], NULL, NULL, 0}));
        assert_int_equal(core_tokenizer_load(f.source, &f.tokenizer, &f.error), MORE_OK);
        core_gguf_writer *writer = core_gguf_writer_create("unused");
        core_tokenizer_source source = {.path = f.source,
                                        .tokenizer = f.tokenizer,
                                        .rules = tokens_path("share/layouts/gguf-tokenizers.json"),
                                        .rows = core_tokenizer_size(f.tokenizer)};
        assert_int_equal(core_tokenizer_export(&source, writer, f.notes, &f.error), MORE_ERROR_UNSUPPORTED);
        assert_non_null(strstr(f.error.message, paths[i][1]));
        core_gguf_writer_free(writer);
        core_tokenizer_destroy(f.tokenizer);
        json_decref(f.notes);
        free(f.source);
        made_remove(f.folder);
    }
}

int main(void)
{
    enum { COUNT = sizeof cases / sizeof *cases };
    struct CMUnitTest tests[COUNT + 1];
    for (size_t i = 0; i < COUNT; i++)
        tests[i] = (struct CMUnitTest){.name = cases[i].path ? cases[i].path : cases[i].shared,
                                       .test_func = there_and_back,
                                       .initial_state = (void *)&cases[i]};
    tests[COUNT] = (struct CMUnitTest){.name = "refused", .test_func = refused};
    return cmocka_run_group_tests_name("gguf_tokenizers", tests, NULL, NULL);
}
