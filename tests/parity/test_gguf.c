/* SPDX-License-Identifier: Apache-2.0
 *
 * GGUF files that tests/oracle/gguf_files.py made of folders: the same tensors, logits, ids and answers as the folders.
 */
#include "files.h"
#include "language.h"
#include "parity.h"

#include "assembly/data.h"
#include "base/file.h"
#include "text/tokenizer_gguf.h"
#include "tokens.h"
#include "weights/checkpoint.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <llavamore.h>
#include <math.h>

/* ---- Quantised numbers ------------------------------------------------------------------------------------------- */

/* Every row alone, as f32, has the bits of the gguf package; as f16 and bf16 it is that, rounded. */
static void compare_format(more_checkpoint *file, more_checkpoint *reference, const char *name, const char *format)
{
    const more_weights_service *weights = core_weights_service();
    more_weight_info info = {.struct_size = sizeof info};
    int64_t shape[MORE_MAX_RANK];
    float *wanted = parity_floats(reference, name, shape), got[512];
    uint16_t half[512], wanted_half[512];
    more_error error = {""};

    if (weights->info(file, name, &info, &error))
        fail_msg("%s", error.message);
    assert_string_equal(info.format, format);
    assert_int_equal(info.rank, 2);
    assert_int_equal(info.shape[0], 3);
    assert_int_equal(info.shape[1], 512);
    for (int64_t row = 0; row < 3; row++) {
        if (weights->read_rows(file, name, row, 1, more_f32(), got, &error))
            fail_msg("%s", error.message);
        assert_memory_equal(got, wanted + row * 512, sizeof got);
        const DLDataType types[] = {more_f16(), more_bf16()};
        for (int i = 0; i < 2; i++) {
            more_status status = weights->read_rows(file, name, row, 1, types[i], half, &error);
            more_status same = weights->read_rows(reference, name, row, 1, types[i], wanted_half, NULL);
            bool large = false;
            for (int k = 0; k < 512; k++)
                large |= i == 0 && (got[k] > 65504 || got[k] < -65504);
            assert_int_equal(status, large ? MORE_ERROR_UNSUPPORTED : MORE_OK);
            assert_int_equal(same, MORE_OK);
            if (!large)
                assert_memory_equal(half, wanted_half, sizeof half);
        }
    }
    free(wanted);
}

static void quantised_numbers(void **state)
{
    static const char *const names[][2] = {{"Q8_0", "gguf.q8_0"}, {"Q4_0", "gguf.q4_0"}, {"Q4_1", "gguf.q4_1"},
                                           {"Q4_K", "gguf.q4_K"}, {"Q5_K", "gguf.q5_K"}, {"Q6_K", "gguf.q6_K"},
                                           {"F16", "f16"},        {"BF16", "bf16"},      {"F32", "f32"}};
    parity_checkpoint file = parity_checkpoint_open(parity_path("gguf/formats.gguf"), NULL, NULL);
    parity_checkpoint reference = parity_checkpoint_open(parity_path("gguf/formats.safetensors"), NULL, NULL);
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        compare_format(file.view, reference.view, names[i][0], names[i][1]);
    parity_checkpoint_close(&file);
    parity_checkpoint_close(&reference);
}

/* ---- Language models --------------------------------------------------------------------------------------------- */

static void open_language(const more_host *host, const more_plugin *plugin, more_checkpoint *view,
                          parity_language *language)
{
    more_error error = {""};
    *language = (parity_language){.interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};
    if (language->interface->open(parity_arguments(plugin, host, view, MORE_OPEN_DEFAULT, "arithmetic", "exact"),
                                  &language->model, &error))
        fail_msg("%s", error.message);
    language->info.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats);
    language->interface->describe(language->model, &language->info);
}

/* Every tensor that the folder has, as the plugin asks for it: the same numbers but for those that are stored plus 1.
 */
static void compare_tensors(more_checkpoint *file, more_checkpoint *folder, const more_tensor_map *map)
{
    const more_weights_service *weights = core_weights_service();
    int compared = 0;

    for (int32_t i = 0; i < map->count; i++) {
        more_weight_info info = {.struct_size = sizeof info}, other = {.struct_size = sizeof other};
        char name[128];
        const char *star = strchr(map->names[i].canonical, '*');
        snprintf(name, sizeof name, "%.*s%s%s", star ? (int)(star - map->names[i].canonical) : 128,
                 map->names[i].canonical, star ? "1" : "", star ? star + 1 : "");
        if (weights->info(folder, name, &info, NULL) || info.rank < 1)
            continue;
        assert_int_equal(weights->info(file, name, &other, NULL), MORE_OK);
        assert_int_equal(other.rank, info.rank);
        int64_t rows = info.rank < 2 ? 1 : info.shape[0], columns = info.rank < 2 ? info.shape[0] : info.shape[1];
        assert_int_equal(other.shape[0], info.shape[0]);
        size_t count = (size_t)(rows * columns);
        float *wanted = calloc(count, sizeof *wanted), *got = calloc(count, sizeof *got);
        assert_int_equal(weights->read_rows(folder, name, 0, rows, more_f32(), wanted, NULL), MORE_OK);
        assert_int_equal(weights->read_rows(file, name, 0, rows, more_f32(), got, NULL), MORE_OK);
        bool halved = !strncmp(other.format, "gguf.", 5); /* the folder has them in f16 */
        for (size_t k = 0; k < count; k++)
            if (map->names[i].transform == MORE_TRANSFORM_MINUS_ONE || halved)
                assert_true(got[k] - wanted[k] <= 5e-4f && wanted[k] - got[k] <= 5e-4f);
            else
                assert_true(got[k] == wanted[k]);
        compared++;
        free(wanted);
        free(got);
    }
    assert_true(compared >= 8);
}

typedef struct gguf_case {
    const char *plugin, *folder, *file;
    double bound; /* of the logits, in shares of the largest: the folder of llama-q8 rounds its numbers to f16 */
} gguf_case;

/* Logits of 40 ids, all rows, and what the config says of the model. */
static void compare_models(const more_host *host, const gguf_case *row)
{
    const more_plugin *plugin = parity_plugin(row->plugin);
    const more_language_interface *interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE);
    more_checkpoint *views[2] = {files_part(parity_path(row->folder), interface->tensor_map()),
                                 files_part(parity_path(row->file), interface->tensor_map())};
    float *logits[2];
    int32_t ids[40];
    parity_language models[2];
    double largest = 0, error = 0;

    compare_tensors(views[1], views[0], interface->tensor_map());
    for (int32_t i = 0; i < 40; i++)
        ids[i] = i * 7 % 60;
    for (int i = 0; i < 2; i++) {
        open_language(host, plugin, views[i], &models[i]);
        logits[i] = calloc((size_t)(40 * models[i].info.vocabulary), sizeof(float));
        more_session *session = parity_session(&models[i]);
        parity_advance(&models[i], session, ids, 40, 40, logits[i]);
        parity_drop(&models[i], session);
    }
    assert_int_equal(models[0].info.vocabulary, models[1].info.vocabulary);
    assert_int_equal(models[0].info.width, models[1].info.width);
    assert_int_equal(models[0].info.layers, models[1].info.layers);
    assert_int_equal(models[0].info.context, models[1].info.context);
    for (int64_t i = 0; i < 40 * models[0].info.vocabulary; i++) {
        double wanted = (double)logits[0][i], off = (double)logits[1][i] - wanted;
        largest = wanted > largest ? wanted : -wanted > largest ? -wanted : largest;
        error = off > error ? off : -off > error ? -off : error;
    }
    print_message("%-28s logits differ by %.1e of the largest magnitude\n", row->file, error / largest);
    assert_true(largest > 0 && error <= row->bound * largest);
    for (int i = 0; i < 2; i++) {
        interface->close(models[i].model);
        core_checkpoint_release(views[i]);
        free(logits[i]);
    }
}

static void language_models(void **state)
{
    static const gguf_case cases[] = {
        {"llm/llama", "models/llama-31", "gguf/llama-31.gguf", 1e-6},
        {"llm/llama", "models/llama-mqa-f16", "gguf/llama-mqa-f16.gguf", 1e-6},
        {"llm/llama", "gguf/llama-q8", "gguf/llama-q8.gguf", 0.015},
        {"llm/gemma2", "gguf/gemma2", "gguf/gemma2.gguf", 1e-6},
        {"llm/phi4", "models/phi4-mini", "gguf/phi4-mini.gguf", 1e-6},
    };
    const more_host *host = parity_host(2);
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        compare_models(host, &cases[i]);
    parity_host_close();
}

/* ---- Tokenizers -------------------------------------------------------------------------------------------------- */

static core_tokenizer *load_embedded(const char *file)
{
    core_tokenizer *tokenizer;
    more_error error = {""};
    char *layouts = core_data_folder("layouts"), *rules = core_path_join(layouts, "gguf-tokenizers.json");
    assert_true(core_tokenizer_is_gguf(parity_path(file)));
    if (core_tokenizer_load_gguf(parity_path(file), rules, &tokenizer, &error))
        fail_msg("%s", error.message);
    free(layouts);
    free(rules);
    return tokenizer;
}

/* The ids and texts of all strings are those that the tokenizer beside it gives. */
static void compare_tokenizers(const char *file, const core_tokenizer *embedded, const core_tokenizer *wanted)
{
    json_t *strings = tokens_json(TOKENS_DATA "strings.json"), *text;
    size_t index;
    more_error error = {""};
    json_array_foreach(strings, index, text)
    {
        core_ids own = {0}, other = {0};
        core_buffer shown = {0}, other_shown = {0};
        const char *value = json_string_value(text);
        size_t size = json_string_length(text);
        assert_int_equal(core_tokenizer_encode(embedded, value, size, 0, &own, &error), MORE_OK);
        assert_int_equal(core_tokenizer_encode(wanted, value, size, 0, &other, &error), MORE_OK);
        if (own.count != other.count || (own.count && memcmp(own.data, other.data, own.count * sizeof *own.data) != 0))
            fail_msg("%s: string %zu has other ids", file, index);
        core_tokenizer_decode(embedded, own.data, own.count, false, &shown, &error);
        core_tokenizer_decode(wanted, own.data, own.count, false, &other_shown, &error);
        assert_int_equal(shown.size, other_shown.size);
        if (shown.size)
            assert_memory_equal(shown.data, other_shown.data, shown.size);
        core_ids_free(&own);
        core_ids_free(&other);
        core_buffer_free(&shown);
        core_buffer_free(&other_shown);
    }
    print_message("%-28s ids of %zu strings equal\n", file, index);
    json_decref(strings);
}

static void tokenizers_of_merges(void **state)
{
    static const char *const names[] = {"llama3", "o200k", "cl100k"};
    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char file[64], json[64];
        core_tokenizer *wanted;
        more_error error = {""};
        snprintf(file, sizeof file, "gguf/vocab-%s.gguf", names[i]);
        snprintf(json, sizeof json, "tokens/small/%s/tokenizer.json", names[i]);
        core_tokenizer *embedded = load_embedded(file);
        if (core_tokenizer_load(parity_path(json), &wanted, &error))
            fail_msg("%s", error.message);
        compare_tokenizers(file, embedded, wanted);
        assert_int_equal(core_tokenizer_bos(embedded), core_tokenizer_bos(wanted));
        assert_int_equal(core_tokenizer_adds_bos(embedded), core_tokenizer_adds_bos(wanted));
        assert_true(core_tokenizer_eos(embedded) >= 0);
        core_tokenizer_destroy(embedded);
        core_tokenizer_destroy(wanted);
    }
}

static void tokenizer_of_pieces(void **state)
{
    core_buffer bytes = {0};
    core_tokenizer *wanted, *embedded = load_embedded("gguf/vocab-pieces.gguf");
    more_error error = {""};
    (void)state;
    tokens_unpack(parity_path("tokens/sentencepiece/llama2/tokenizer.model.xz"), &bytes);
    if (core_tokenizer_parse_pieces((const unsigned char *)bytes.data, bytes.size, "llama2", &wanted, &error))
        fail_msg("%s", error.message);
    /* In the sentencepiece package alone, no text is a control piece; in a model's file it is. */
    json_t *strings = tokens_json(TOKENS_DATA "strings.json");
    assert_int_equal(core_tokenizer_bos(embedded), core_tokenizer_bos(wanted));
    assert_true(core_tokenizer_adds_bos(embedded));
    json_t *text;
    size_t index, compared = 0;
    json_array_foreach(strings, index, text)
    {
        core_ids own = {0}, other = {0};
        const char *value = json_string_value(text);
        size_t size = json_string_length(text);
        if (strstr(value, "<s>") || strstr(value, "</s>") || strstr(value, "<unk>"))
            continue;
        core_tokenizer_encode(embedded, value, size, 0, &own, &error);
        core_tokenizer_encode(wanted, value, size, 0, &other, &error);
        if (own.count != other.count || (own.count && memcmp(own.data, other.data, own.count * sizeof *own.data) != 0))
            fail_msg("string %zu has other ids", index);
        compared++;
        core_ids_free(&own);
        core_ids_free(&other);
    }
    print_message("gguf/vocab-pieces.gguf       ids of %zu strings equal\n", compared);
    assert_true(compared > 2000);
    json_decref(strings);
    core_buffer_free(&bytes);
    core_tokenizer_destroy(embedded);
    core_tokenizer_destroy(wanted);
}

/* ---- Two files and a picture ------------------------------------------------------------------------------------- */

#define SAME "generate.max_new_tokens", "24", "generate.ignore_stop", "true", "llm.template", "llama_3_1"

/* Visual tokens to what the f32 of a file's image_mean leaves of the folder's doubles, ids exactly. */
static void compare_answers(const char *name, const char *const *folders, const char *const *files)
{
    files_answer wanted = files_ask(folders), got = files_ask(files);
    size_t size = wanted.tokens.size, start = 10 + (size_t)(unsigned char)wanted.tokens.data[8];
    float largest = 0, error = 0;
    assert_int_equal(got.tokens.size, size);
    assert_true(size > start);
    for (size_t at = start; at + 4 <= size; at += 4) {
        float a, b;
        memcpy(&a, wanted.tokens.data + at, sizeof a);
        memcpy(&b, got.tokens.data + at, sizeof b);
        largest = fabsf(a) > largest ? fabsf(a) : largest;
        error = fabsf(a - b) > error ? fabsf(a - b) : error;
    }
    print_message("%-28s visual tokens differ by %.1e of the largest magnitude\n", name, (double)(error / largest));
    assert_true(largest > 0 && error <= 1e-5f * largest);
    assert_int_equal(wanted.answer.token_count, 24);
    assert_int_equal(got.answer.token_count, 24);
    assert_memory_equal(got.answer.token_ids, wanted.answer.token_ids, 24 * sizeof *got.answer.token_ids);
    assert_int_equal(got.answer.prompt_tokens, wanted.answer.prompt_tokens);
    assert_string_equal(got.answer.text, wanted.answer.text);
    files_answer_clear(&wanted);
    files_answer_clear(&got);
}

static void two_files(void **state)
{
    static const char *const clip[] = {SAME,
                                       "llm.weights",
                                       "pairs/llm-llama",
                                       "llm.tokenizer",
                                       "tokens/small/llama3/tokenizer.json",
                                       "vision.weights",
                                       "pairs/vision-clip",
                                       "projector.weights",
                                       "pairs/clip-llama",
                                       NULL};
    static const char *const siglip[] = {SAME,
                                         "llm.weights",
                                         "pairs/llm-llama",
                                         "llm.tokenizer",
                                         "tokens/small/llama3/tokenizer.json",
                                         "vision.weights",
                                         "pairs/vision-siglip",
                                         "projector.weights",
                                         "pairs/siglip-llama",
                                         NULL};
    static const char *const clip_files[] = {
        SAME, "llm.weights", "gguf/llm-llama.gguf", "vision.weights", "gguf/mmproj-clip.gguf", NULL};
    static const char *const siglip_files[] = {
        SAME, "llm.weights", "gguf/llm-llama.gguf", "vision.weights", "gguf/mmproj-siglip.gguf", NULL};
    (void)state;
    compare_answers("gguf/mmproj-clip.gguf", clip, clip_files);
    compare_answers("gguf/mmproj-siglip.gguf", siglip, siglip_files);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantised_numbers),
        cmocka_unit_test(language_models),
        cmocka_unit_test(tokenizers_of_merges),
        cmocka_unit_test(tokenizer_of_pieces),
        cmocka_unit_test(two_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
