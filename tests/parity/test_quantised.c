/* SPDX-License-Identifier: Apache-2.0
 *
 * Quantised GGUF files that tests/oracle/gguf_quantised.py made, against folders of the f32 numbers that their blocks
 * stand for: the same bits where the packed form holds the blocks as they are, within a bound where it does not.
 */
#include "files.h"
#include "language.h"
#include "parity.h"

#include "weights/checkpoint.h"
#include "weights/gguf/quantised.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { IDS = 24 };

typedef struct file_case {
    const char *plugin, *file;
    const char *config; /* of the folder; NULL = as the file says */
    int64_t layers;
    bool lossless;
    double exact;     /* relative RMS of the logits in f32 arithmetic; 0 = the same bits */
    double automatic; /* the same in 8-bit arithmetic */
} file_case;

/* Bounds, twice what was measured. Q4_K's scales and minima round to f16, 2^-12 of numbers larger than their
 * difference; Q5_K and Q6_K meet blocks of 8 bits, half a step of 1/127 of a block's largest number; activations are
 * rounded so too. It adds up over the products of two layers. */
static const file_case files[] = {
    {"llm/llama", "llama-Q8_0.gguf", NULL, 2, true, 0, 0.06},
    {"llm/llama", "llama-Q4_0.gguf", NULL, 2, true, 0, 0.06},
    {"llm/llama", "llama-Q4_1.gguf", NULL, 2, true, 0, 0.06},
    {"llm/llama", "llama-Q4_K.gguf", NULL, 1, false, 0.01, 0.04},
    {"llm/llama", "llama-Q5_K.gguf", NULL, 1, false, 0.04, 0.04},
    {"llm/llama", "llama-Q6_K.gguf", NULL, 1, false, 0.04, 0.04},
    {"llm/llama", "llama-Q4_K_M.gguf", NULL, 1, false, 0.04, 0.04},
    {"llm/gemma2", "gemma2-Q8_0.gguf", "quantised/gemma2/config.json", 4, true, 0, 0.1},
    {"llm/phi4", "phi4-Q8_0.gguf", "quantised/phi4/config.json", 2, true, 0, 0.1},
};
enum { FILES = sizeof files / sizeof *files };

static const more_tensor_map *map_of(const char *plugin)
{
    const more_language_interface *interface = parity_plugin(plugin)->get_interface(MORE_LANGUAGE_INTERFACE);
    return interface->tensor_map();
}

static more_checkpoint *open_file(const char *name, const more_tensor_map *map)
{
    char relative[128];
    snprintf(relative, sizeof relative, "quantised/%s", name);
    return files_part(parity_path(relative), map);
}

/* ---- Rows as they are stored ------------------------------------------------------------------------------------- */

/* Every row of a tensor of blocks, read alone and as a run: what it stands for is what read_rows gives. */
static int compare_rows(more_checkpoint *view, const char *name)
{
    const more_weights_service *weights = core_weights_service();
    more_weight_info info = {.struct_size = sizeof info};
    unsigned char stored[3 * 512];
    float wanted[256], got[256];
    more_error error = {""};

    if (weights->info(view, name, &info, NULL) || !core_quantised(info.format))
        return 0;
    const core_gguf_format *format = core_quantised(info.format);
    int64_t columns = info.shape[1], bytes = columns / format->block * (int64_t)format->bytes;
    assert_true(columns <= 256 && bytes <= 512);
    for (int64_t row = 0; row < info.shape[0]; row++) {
        int64_t run = info.shape[0] - row < 3 ? info.shape[0] - row : 3;
        if (weights->read_stored_rows(view, name, row, run, stored, &error) ||
            weights->read_rows(view, name, row + run - 1, 1, more_f32(), wanted, &error))
            fail_msg("%s", error.message);
        assert_true(core_quantised_read(format, stored + (run - 1) * bytes, 0, columns, more_f32(), got));
        assert_memory_equal(got, wanted, (size_t)columns * sizeof *got);
    }
    assert_int_equal(weights->read_stored_rows(view, name, info.shape[0] - 2, 3, stored, &error), MORE_ERROR_ARGUMENT);
    return info.data ? 1 : 100; /* interleaved queries and keys have no mapped rows */
}

static void stored_rows(void **state)
{
    (void)state;
    for (int i = 0; i < FILES && !strcmp(files[i].plugin, "llm/llama"); i++) {
        more_checkpoint *view = open_file(files[i].file, map_of("llm/llama"));
        static const char *const names[] = {"embedding.weight",
                                            "layers.0.attention.query.weight",
                                            "layers.0.attention.key.weight",
                                            "layers.0.attention.value.weight",
                                            "layers.0.attention.output.weight",
                                            "layers.0.mlp.gate.weight",
                                            "layers.0.mlp.down.weight"};
        int compared = 0;
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            compared += compare_rows(view, names[k]);
        assert_int_equal(compared, 205);
        core_checkpoint_release(view);
    }
}

/* ---- Logits ------------------------------------------------------------------------------------------------------ */

/* Logits of IDS ids [IDS, vocabulary] and bytes of the weights of the model that the view holds; free() the logits. */
typedef struct run {
    float *logits;
    int64_t vocabulary, bytes;
} run;

static run run_model(const more_host *host, const char *plugin_name, more_checkpoint *view, const char *quantize,
                     const char *arithmetic)
{
    const more_plugin *plugin = parity_plugin(plugin_name);
    parity_language language = {.name = "quantised", .interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};
    run result = {0};
    int32_t ids[IDS];
    more_memory planned = {0}, memory = {0};
    more_error error = {""};

    for (int k = 0; k < 2; k++) { /* first as a dry run opens it */
        const more_open *arguments =
            parity_arguments(plugin, host, view, k ? MORE_OPEN_DEFAULT : MORE_OPEN_METADATA_ONLY, "quantize", quantize);
        parity_set_option(plugin, "arithmetic", arithmetic);
        if (language.interface->open(arguments, &language.model, &error) ||
            language.interface->estimate(language.model, 1, 1, 1, k ? &memory : &planned, &error))
            fail_msg("%s", error.message);
        if (!k)
            language.interface->close(language.model);
    }
    assert_int_equal(planned.weight_bytes, memory.weight_bytes);
    language.info.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats);
    language.interface->describe(language.model, &language.info);
    result.bytes = memory.weight_bytes;
    result.vocabulary = language.info.vocabulary;
    result.logits = calloc((size_t)(IDS * result.vocabulary), sizeof *result.logits);
    for (int32_t i = 0; i < IDS; i++)
        ids[i] = i * 7 % 37;
    more_session *session = parity_session(&language);
    parity_advance(&language, session, ids, IDS, IDS, result.logits);
    parity_drop(&language, session);
    language.interface->close(language.model);
    return result;
}

/* Relative RMS of all logits; a NaN is infinitely wrong. */
static double distance(const run *got, const run *wanted)
{
    double square = 0, size = 0;
    assert_int_equal(got->vocabulary, wanted->vocabulary);
    for (int64_t i = 0; i < IDS * wanted->vocabulary; i++) {
        double delta = (double)got->logits[i] - (double)wanted->logits[i];
        square += delta * delta;
        size += (double)wanted->logits[i] * (double)wanted->logits[i];
    }
    assert_true(size > 0);
    return isnan(square) ? INFINITY : sqrt(square / size);
}

/* What a GGUF file does not say, the folder needs. */
static void replace_config(const char *folder, const char *relative)
{
    json_t *config = parity_json(relative);
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static void compare_file(const more_host *host, const file_case *row)
{
    const more_tensor_map *map = map_of(row->plugin);
    more_checkpoint *view = open_file(row->file, map);
    char *folder = files_write_f32(view, map, row->layers);
    if (row->config)
        replace_config(folder, row->config);
    parity_checkpoint plain = parity_checkpoint_open(folder, NULL, map);
    run wanted = run_model(host, row->plugin, plain.view, "none", "exact");
    run exact = run_model(host, row->plugin, view, "none", "exact");
    run automatic = run_model(host, row->plugin, view, "none", "auto");
    double off = distance(&exact, &wanted), rounded = distance(&automatic, &wanted);

    print_message("%-20s %7lld bytes, %.1e off in f32 arithmetic, %.1e in 8 bits\n", row->file, (long long)exact.bytes,
                  off, rounded);
    assert_true(exact.bytes * 2 < wanted.bytes);
    if (row->lossless)
        assert_memory_equal(exact.logits, wanted.logits, (size_t)(IDS * wanted.vocabulary) * sizeof(float));
    assert_true(off <= row->exact);
    assert_true(rounded <= row->automatic);
    free(wanted.logits);
    free(exact.logits);
    free(automatic.logits);
    parity_checkpoint_close(&plain);
    files_remove(folder);
    core_checkpoint_release(view);
}

static void logits_of_files(void **state)
{
    const more_host *host = parity_host(2);
    (void)state;
    for (int i = 0; i < FILES; i++)
        compare_file(host, &files[i]);
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
}

/* ---- Quantising on top ------------------------------------------------------------------------------------------- */

/* The same logits in the same bits of two sources. */
static void assert_equal_runs(run got, run wanted)
{
    assert_int_equal(got.bytes, wanted.bytes);
    assert_int_equal(got.vocabulary, wanted.vocabulary);
    assert_memory_equal(got.logits, wanted.logits, (size_t)(IDS * wanted.vocabulary) * sizeof(float));
    free(got.logits);
    free(wanted.logits);
}

/* 8 bits of the f32 numbers that blocks of 8 bits stand for are those blocks; and it is the numbers that count, not
 * whether a file or a folder has them. */
static void quantised_alike(void **state)
{
    const more_host *host = parity_host(2);
    const more_tensor_map *map = map_of("llm/llama");
    more_checkpoint *blocks = open_file("llama-Q8_0.gguf", map);
    char *folder = files_write_f32(blocks, map, 2);
    parity_checkpoint plain = parity_checkpoint_open(folder, NULL, map);
    more_checkpoint *halves = files_part(parity_path("gguf/llama-mqa-f16.gguf"), map);
    parity_checkpoint half_folder = parity_checkpoint_open(parity_path("models/llama-mqa-f16"), NULL, map);
    (void)state;
    assert_equal_runs(run_model(host, "llm/llama", plain.view, "q8", "auto"),
                      run_model(host, "llm/llama", blocks, "none", "auto"));
    assert_equal_runs(run_model(host, "llm/llama", blocks, "q8", "auto"),
                      run_model(host, "llm/llama", blocks, "none", "auto"));
    assert_equal_runs(run_model(host, "llm/llama", plain.view, "q4", "auto"),
                      run_model(host, "llm/llama", blocks, "q4", "auto"));
    assert_equal_runs(run_model(host, "llm/llama", half_folder.view, "q4_1", "auto"),
                      run_model(host, "llm/llama", halves, "q4_1", "auto"));
    parity_checkpoint_close(&plain);
    parity_checkpoint_close(&half_folder);
    core_checkpoint_release(halves);
    core_checkpoint_release(blocks);
    files_remove(folder);
    parity_host_close();
}

/* A file of the mixture takes 4 bits a number when asked to, also where parts of different formats are stacked; blocks
 * of 4 bits never become larger. */
static void requantised(void **state)
{
    const more_host *host = parity_host(2);
    const more_tensor_map *map = map_of("llm/llama");
    more_checkpoint *mixed = open_file("llama-Q4_K_M.gguf", map), *four = open_file("llama-Q4_0.gguf", map);
    run as_stored = run_model(host, "llm/llama", mixed, "none", "auto");
    run asked = run_model(host, "llm/llama", mixed, "q4", "auto");
    double off = distance(&asked, &as_stored);
    (void)state;
    print_message("llama-Q4_K_M.gguf    %lld bytes, as q4 %lld, %.1e off\n", (long long)as_stored.bytes,
                  (long long)asked.bytes, off);
    assert_true(asked.bytes < as_stored.bytes * 4 / 5);
    assert_true(off > 1e-4 && off < 0.3);
    free(as_stored.logits);
    free(asked.logits);
    assert_equal_runs(run_model(host, "llm/llama", four, "q8", "auto"),
                      run_model(host, "llm/llama", four, "none", "auto"));
    core_checkpoint_release(mixed);
    core_checkpoint_release(four);
    parity_host_close();
}

/* ---- Two files and a picture ------------------------------------------------------------------------------------- */

/* A language model in 8 bits and an mmproj file in f16 answer as the folders do: with the f32 numbers that the blocks
 * stand for, and with the same 8 bits made of them. */
static void two_files(void **state)
{
    const more_tensor_map *map = map_of("llm/llama");
    more_checkpoint *view = open_file("pair-llama-Q8_0.gguf", map);
    char *folder = files_write_f32(view, map, 2);
    (void)state;
    replace_config(folder, "quantised/pair-llama/config.json");
    for (int k = 0; k < 2; k++) {
        const char *arithmetic = k ? "exact" : "auto";
        const char *const folders[] = {"generate.max_new_tokens",
                                       "24",
                                       "generate.ignore_stop",
                                       "true",
                                       "llm.template",
                                       "llama_3_1",
                                       "llm.weights",
                                       folder,
                                       "llm.quantize",
                                       k ? "none" : "q8",
                                       "llm.arithmetic",
                                       arithmetic,
                                       "llm.tokenizer",
                                       "tokens/small/llama3/tokenizer.json",
                                       "vision.weights",
                                       "pairs/vision-clip",
                                       "projector.weights",
                                       "quantised/pair-projector",
                                       NULL};
        const char *const pair[] = {"generate.max_new_tokens",
                                    "24",
                                    "generate.ignore_stop",
                                    "true",
                                    "llm.template",
                                    "llama_3_1",
                                    "llm.weights",
                                    "quantised/pair-llama-Q8_0.gguf",
                                    "llm.arithmetic",
                                    arithmetic,
                                    "vision.weights",
                                    "quantised/pair-mmproj-f16.gguf",
                                    NULL};
        files_answer wanted = files_ask(folders), got = files_ask(pair);
        assert_int_equal(got.answer.token_count, 24);
        assert_int_equal(wanted.answer.token_count, 24);
        assert_memory_equal(got.answer.token_ids, wanted.answer.token_ids, 24 * sizeof *got.answer.token_ids);
        assert_string_equal(got.answer.text, wanted.answer.text);
        print_message("pair, %s: %.60s\n", arithmetic, got.answer.text);
        files_answer_clear(&wanted);
        files_answer_clear(&got);
    }
    core_checkpoint_release(view);
    files_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_rows), cmocka_unit_test(logits_of_files), cmocka_unit_test(quantised_alike),
        cmocka_unit_test(requantised), cmocka_unit_test(two_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
