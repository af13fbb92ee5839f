/* SPDX-License-Identifier: Apache-2.0
 *
 * Gemma-2's config.json: what is wrong with it is said in one clear line; what its keys change; what its cache takes.
 */
#include "decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define VOCABULARY 50
#define ROWS 20

/* ---- Folders ---------------------------------------------------------------------------------------------------- */

/* A Gemma-2 of `layers` blocks of width 24, 4 heads of 8 channels over 2 key-value heads, window 6. */
static test_folder gemma2_folder(int layers)
{
    static const struct {
        const char *name, *shape;
    } rows[] = {{"input_layernorm.weight", "[24]"},           {"post_attention_layernorm.weight", "[24]"},
                {"pre_feedforward_layernorm.weight", "[24]"}, {"post_feedforward_layernorm.weight", "[24]"},
                {"self_attn.q_proj.weight", "[32, 24]"},      {"self_attn.k_proj.weight", "[16, 24]"},
                {"self_attn.v_proj.weight", "[16, 24]"},      {"self_attn.o_proj.weight", "[24, 32]"},
                {"mlp.gate_proj.weight", "[20, 24]"},         {"mlp.up_proj.weight", "[20, 24]"},
                {"mlp.down_proj.weight", "[24, 20]"}};
    test_folder folder = {.shapes = json_object()};
    char name[128];

    folder.config =
        json_pack("{s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:i, s:i, s:f, s:f, s:s, s:[i,i]}",
                  "model_type", "gemma2", "hidden_size", 24, "num_attention_heads", 4, "num_key_value_heads", 2,
                  "head_dim", 8, "num_hidden_layers", layers, "intermediate_size", 20, "vocab_size", VOCABULARY,
                  "max_position_embeddings", 8192, "rms_norm_eps", 1e-6, "rope_theta", 10000.0, "sliding_window", 6,
                  "query_pre_attn_scalar", 8, "attn_logit_softcapping", 2.0, "final_logit_softcapping", 3.0,
                  "hidden_activation", "gelu_pytorch_tanh", "eos_token_id", 1, 107);
    assert_non_null(folder.config);
    folder_shape(&folder, "model.embed_tokens.weight", "[50, 24]");
    folder_shape(&folder, "model.norm.weight", "[24]");
    for (int layer = 0; layer < layers; layer++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, rows[i].name);
            folder_shape(&folder, name, rows[i].shape);
        }
    return folder;
}

static test_folder small_folder(void)
{
    return gemma2_folder(2);
}

/* ---- Bad configs ------------------------------------------------------------------------------------------------ */

#define BLOCK "model.layers.1."

static const bad_case bad_cases[] = {
    {"hidden_size", NULL, NULL, NULL, "hidden_size"},
    {"num_key_value_heads", "3", NULL, NULL, "num_key_value_heads 3"},
    {"num_key_value_heads", NULL, NULL, NULL, "k_proj.weight|32"}, /* the default of 4 */
    {"head_dim", NULL, NULL, NULL, "q_proj.weight|1024"},          /* the default of 256 */
    {"head_dim", "7", NULL, NULL, "head_dim 7"},
    {"hidden_activation", "\"silu\"", NULL, NULL, "hidden_activation|silu|gemma2|gelu_pytorch_tanh"},
    {"query_pre_attn_scalar", "0", NULL, NULL, "query_pre_attn_scalar 0"},
    {"query_pre_attn_scalar", "\"x\"", NULL, NULL, "query_pre_attn_scalar"},
    {"attn_logit_softcapping", "-1", NULL, NULL, "attn_logit_softcapping -1"},
    {"final_logit_softcapping", "0", NULL, NULL, "final_logit_softcapping 0"},
    {"final_logit_softcapping", "1e300", NULL, NULL, "final_logit_softcapping 1e+300"},
    {"sliding_window", "0", NULL, NULL, "sliding_window|0"},
    {"sliding_window", "-4", NULL, NULL, "sliding_window|-4"},
    {"layer_types", "[\"full_attention\"]", NULL, NULL, "layer_types has 1|num_hidden_layers is 2"},
    {"layer_types", "[\"full_attention\", \"chunked\"]", NULL, NULL, "layer_types.1|chunked|gemma2"},
    {"layer_types", "[\"full_attention\", 3]", NULL, NULL, "layer_types.1"},
    {"rope_theta", "-1", NULL, NULL, "rope_theta -1"},
    {"rope_scaling", "{\"rope_type\": \"yarn\"}", NULL, NULL, "rope_scaling.rope_type|yarn|gemma2"},
    {"tie_word_embeddings", "false", NULL, NULL, "lm_head.weight"},
    {"attention_bias", "true", NULL, NULL, "q_proj.bias"},
    {NULL, NULL, BLOCK "post_feedforward_layernorm.weight", NULL, BLOCK "post_feedforward_layernorm.weight"},
    {NULL, NULL, BLOCK "post_attention_layernorm.weight", "[23]", BLOCK "post_attention_layernorm.weight|23"},
    {NULL, NULL, BLOCK "mlp.gate_proj.weight", "[21, 24]", BLOCK "mlp.gate_proj.weight|21"},
};

static void bad_configs(void **state)
{
    (void)state;
    assert_refused("llm/gemma2", small_folder, bad_cases, sizeof bad_cases / sizeof *bad_cases);
}

/* ---- What keys change ------------------------------------------------------------------------------------------- */

static void advance(const opened_decoder *o, more_session *session, int64_t rows, float *logits)
{
    int32_t *ids = calloc((size_t)rows, sizeof *ids);
    int64_t shape[2] = {1, VOCABULARY}, strides[2], last = -1;
    parity_tensor *row = parity_tensor_create(2, 1, VOCABULARY, 1);
    more_tensor view = more_host_tensor(row->data, more_f32(), 2, shape, strides);
    more_segment segment = {.ids = ids, .count = rows};
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = session,
                         .segments = &segment,
                         .segment_count = 1,
                         .logit_rows = &last,
                         .logit_count = logits ? 1 : 0,
                         .logits = logits ? &view : NULL};

    assert_non_null(ids);
    for (int64_t i = 0; i < rows; i++)
        ids[i] = (int32_t)(i * 7 + 3) % VOCABULARY;
    if (o->interface->advance(o->language, &item, 1))
        fail_msg("%s", item.error.message);
    if (logits)
        memcpy(logits, row->data, VOCABULARY * sizeof *logits);
    parity_tensor_free(row);
    free(ids);
}

/* Logits after 1 to ROWS rows of a folder with one key changed; NULL = none. */
static void run(const more_host *host, const char *key, const char *value, float *logits)
{
    test_folder folder = gemma2_folder(2);
    more_session *session;
    opened_decoder o;

    if (key)
        folder_config(&folder, key, value);
    folder_write(&folder);
    o = open_decoder("llm/gemma2", host, &folder, MORE_OPEN_DEFAULT);
    if (o.status)
        fail_msg("%s", o.error.message);
    for (int64_t rows = 1; rows <= ROWS; rows++) {
        assert_int_equal(o.interface->session_create(o.language, 0, &session, NULL), MORE_OK);
        advance(&o, session, rows, logits + (rows - 1) * VOCABULARY);
        o.interface->session_destroy(session);
    }
    close_decoder(&o);
    folder_free(&folder);
}

static void good_configs(void **state)
{
    static const struct {
        const char *key, *value;
        int64_t same; /* so many rows are bit for bit what the plain folder gives; the next one is not */
    } variants[] = {{"layer_types", "[\"sliding_attention\", \"full_attention\"]", ROWS},
                    {"layer_types", "[\"full_attention\", \"sliding_attention\"]", 6},
                    {"layer_types", "[\"full_attention\", \"full_attention\"]", 6},
                    {"sliding_window", "null", 6},
                    {"sliding_window", "4", 4},
                    {"sliding_window", "4096", 6},
                    {"hidden_act", "\"silu\"", ROWS}, /* hidden_activation is the one that counts */
                    {"hidden_activation", NULL, ROWS},
                    {"attn_logit_softcapping", "null", 1}, /* one key's weight is 1 whatever its score */
                    {"query_pre_attn_scalar", "9", 1},
                    {"rope_scaling", "{\"rope_type\": \"linear\", \"factor\": 1}", ROWS},
                    {"rope_scaling", "{\"type\": \"linear\", \"factor\": 2}", 1},
                    {"rope_parameters", "{\"rope_theta\": 10000}", ROWS},
                    {"rope_parameters", "{\"rope_theta\": 9000}", 1},
                    {"final_logit_softcapping", "null", 0}};
    const more_host *host = parity_host(2);
    size_t size = VOCABULARY * sizeof(float);
    float plain[ROWS * VOCABULARY], got[ROWS * VOCABULARY];

    (void)state;
    run(host, NULL, NULL, plain);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        int64_t same = 0;
        run(host, variants[i].key, variants[i].value, got);
        while (same < ROWS && !memcmp(got + same * VOCABULARY, plain + same * VOCABULARY, size))
            same++;
        if (same != variants[i].same)
            fail_msg("%s = %s: %d rows are as without, not %d", variants[i].key,
                     variants[i].value ? variants[i].value : "absent", (int)same, (int)variants[i].same);
    }
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
}

/* ---- Memory ----------------------------------------------------------------------------------------------------- */

static double milliseconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

/* The official window of 4,096 over 8,192 rows: half of the layers keep half of the rows and some pages; a fork behind
 * the window's edge costs next to nothing. */
static void cache_of_windows(void **state)
{
    const more_host *host = parity_host(2);
    test_folder folder = gemma2_folder(26);
    more_memory memory, longer;
    more_session *session, *fork;
    double spent, best = 1e9;
    int64_t full, page;
    opened_decoder o;

    (void)state;
    folder_config(&folder, "sliding_window", NULL); /* the default is 4,096 */
    folder_write(&folder);
    o = open_decoder("llm/gemma2", host, &folder, MORE_OPEN_DEFAULT);
    assert_int_equal(o.status, MORE_OK);
    page = o.interface->kv_bytes(o.language, 1);
    full = 128 * page;
    assert_int_equal(o.interface->kv_bytes(o.language, 4096), full);
    assert_in_range(o.interface->kv_bytes(o.language, 8192), full * 3 / 2, full * 3 / 2 + page * 3 / 2);
    assert_int_equal(o.interface->estimate(o.language, 1, 8192, 1, &memory, NULL), MORE_OK);
    assert_in_range(memory.cache_bytes, full * 3 / 2, full * 3 / 2 + page * 3);
    assert_int_equal(o.interface->estimate(o.language, 1, 8192, 8192, &longer, NULL), MORE_OK);
    assert_int_equal(longer.cache_bytes, 2 * full); /* a chunk of all rows at once */
    assert_int_equal(o.interface->estimate(o.language, INT64_MAX, INT64_MAX, INT64_MAX, &memory, NULL),
                     MORE_ERROR_ARGUMENT);
    assert_int_equal(o.interface->estimate(o.language, 1, -1, 1, &memory, NULL), MORE_ERROR_ARGUMENT);

    assert_int_equal(o.interface->session_create(o.language, 0, &session, NULL), MORE_OK);
    for (int i = 0; i < 10; i++)
        advance(&o, session, 512, NULL);
    for (int i = 0; i < 5; i++) {
        size_t before = parity_host_bytes();
        spent = milliseconds();
        assert_int_equal(o.interface->session_fork(session, &fork, NULL), MORE_OK);
        spent = milliseconds() - spent;
        best = spent < best ? spent : best;
        assert_int_equal(parity_host_bytes(), before);
        o.interface->session_destroy(fork);
    }
    print_message("a fork at 5,120 rows and 26 layers, 13 of them with a window of 4,096: %.3f ms\n", best);
    assert_true(best < 1);
    o.interface->session_destroy(session);
    close_decoder(&o);
    folder_free(&folder);
    parity_host_close();
}

/* ---- What it says of itself ------------------------------------------------------------------------------------- */

static void description(void **state)
{
    const more_host *host = parity_host(2);
    test_folder folder = gemma2_folder(2);
    more_language_info info = {.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats)};
    opened_decoder o;

    (void)state;
    folder_config(&folder, "max_position_embeddings", NULL); /* the default is 8,192 */
    folder_write(&folder);
    o = open_decoder("llm/gemma2", host, &folder, MORE_OPEN_METADATA_ONLY);
    assert_int_equal(o.status, MORE_OK);
    o.interface->describe(o.language, &info);
    assert_int_equal(info.vocabulary, VOCABULARY);
    assert_int_equal(info.width, 24);
    assert_int_equal(info.context, 8192);
    assert_int_equal(info.layers, 2);
    assert_int_equal(info.stop_count, 2);
    assert_int_equal(info.stop_ids[0], 1);
    assert_int_equal(info.stop_ids[1], 107);
    assert_string_equal(info.template_name, "gemma_2");
    close_decoder(&o);
    folder_free(&folder);
    parity_host_close();
}

static void recognition(void **state)
{
    static const struct {
        const char *plugin, *type;
        int32_t score;
    } cases[] = {{"llm/gemma2", "\"gemma2\"", 100},       {"llm/gemma2", "\"llava_gemma\"", 100},
                 {"llm/gemma2", "\"llava_gemma2\"", 100}, {"llm/gemma2", "\"gemma\"", 0},
                 {"llm/gemma2", "\"llama\"", 0},          {"llm/gemma2", NULL, 50},
                 {"llm/llama", "\"gemma2\"", 0},          {"llm/llama", NULL, 0}};
    const more_host *host = parity_host(2);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const more_language_interface *interface =
            parity_plugin(cases[i].plugin)->get_interface(MORE_LANGUAGE_INTERFACE);
        more_recognition recognition = {.struct_size = sizeof recognition};
        test_folder folder = gemma2_folder(2);
        parity_checkpoint checkpoint;
        folder_config(&folder, "model_type", cases[i].type);
        folder_write(&folder);
        checkpoint = parity_checkpoint_open(folder.source, NULL, interface->tensor_map());
        interface->recognise(host, checkpoint.files, &recognition);
        assert_int_equal(recognition.score, cases[i].score);
        assert_string_equal(recognition.settings, cases[i].score ? "template = gemma_2\n" : "");
        parity_checkpoint_close(&checkpoint);
        folder_free(&folder);
    }
    parity_host_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_configs), cmocka_unit_test(good_configs),
                                       cmocka_unit_test(cache_of_windows), cmocka_unit_test(description),
                                       cmocka_unit_test(recognition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
