/* SPDX-License-Identifier: Apache-2.0
 *
 * Phi's config.json: what is wrong with it is said in one clear line, and what may be written in several ways means the
 * same in all of them.
 */
#include "decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOCABULARY 50
#define ROWS 20

/* ---- Folders ----------------------------------------------------------------------------------------------------- */

static json_t *parse(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    assert_non_null(value);
    return value;
}

/* A Phi-4-mini of 2 blocks of width 32, 4 heads over 2 key-value heads, 6 of 8 channels turned, its edge at 16 rows. */
static test_folder phi4_folder(void)
{
    static const struct {
        const char *name, *shape;
    } rows[] = {{"input_layernorm.weight", "[32]"},        {"post_attention_layernorm.weight", "[32]"},
                {"self_attn.qkv_proj.weight", "[64, 32]"}, {"self_attn.o_proj.weight", "[32, 32]"},
                {"mlp.gate_up_proj.weight", "[40, 32]"},   {"mlp.down_proj.weight", "[32, 20]"}};
    test_folder folder = {.shapes = json_object()};
    char name[128];

    folder.config = parse("{\"model_type\": \"phi3\", \"hidden_size\": 32, \"num_attention_heads\": 4, "
                          "\"num_key_value_heads\": 2, \"num_hidden_layers\": 2, \"intermediate_size\": 20, "
                          "\"vocab_size\": 50, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-05, "
                          "\"original_max_position_embeddings\": 16, \"partial_rotary_factor\": 0.75, "
                          "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\", \"tie_word_embeddings\": true, "
                          "\"attention_bias\": false, \"sliding_window\": 262144, \"bos_token_id\": 7, "
                          "\"eos_token_id\": [8, 7], \"resid_pdrop\": 0.5, \"embd_pdrop\": 0.5, "
                          "\"rope_scaling\": {\"type\": \"longrope\", \"short_factor\": [1.0, 1.1, 1.2], "
                          "\"long_factor\": [1, 2.5, 9]}}");
    folder_shape(&folder, "model.embed_tokens.weight", "[50, 32]");
    folder_shape(&folder, "model.norm.weight", "[32]");
    for (int layer = 0; layer < 2; layer++)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
            snprintf(name, sizeof name, "model.layers.%d.%s", layer, rows[i].name);
            folder_shape(&folder, name, rows[i].shape);
        }
    return folder;
}

/* ---- Bad configs ------------------------------------------------------------------------------------------------- */

#define BLOCK "model.layers.1."

static const bad_case bad_cases[] = {
    {"hidden_size", NULL, NULL, NULL, "hidden_size"},
    {"num_key_value_heads", "3", NULL, NULL, "num_key_value_heads 3"},
    {"num_key_value_heads", "4", NULL, NULL, "qkv_proj.weight|96"},
    {"hidden_act", "\"gelu\"", NULL, NULL, "hidden_act|gelu|phi4"},
    {"attention_bias", "true", NULL, NULL, "attention_bias|phi4"},
    {"sliding_window", "0", NULL, NULL, "sliding_window|0"},
    {"sliding_window", "\"wide\"", NULL, NULL, "sliding_window"},
    {"partial_rotary_factor", "0", NULL, NULL, "partial_rotary_factor 0"},
    {"partial_rotary_factor", "1.5", NULL, NULL, "partial_rotary_factor 1.5"},
    {"partial_rotary_factor", "0.7", NULL, NULL, "partial_rotary_factor 0.7|head_dim 8|5 channels"},
    {"partial_rotary_factor", "0.1", NULL, NULL, "partial_rotary_factor 0.1|0 channels"},
    {"partial_rotary_factor", "1", NULL, NULL, "short_factor has 3|needs 4"},
    {"original_max_position_embeddings", "1", NULL, NULL, "original_max_position_embeddings|1"},
    {"original_max_position_embeddings", "\"far\"", NULL, NULL, "original_max_position_embeddings"},
    {"rope_theta", "0", NULL, NULL, "rope_theta 0"},
    {"rope_scaling.type", "\"llama3\"", NULL, NULL, "rope_scaling.type|llama3|longrope"},
    {"rope_scaling.type", "\"linear\"", NULL, NULL, "rope_scaling.type|linear|longrope"},
    {"rope_scaling.rope_type", "\"ntk\"", NULL, NULL, "rope_scaling|ntk|longrope"},
    {"rope_scaling.short_factor", NULL, NULL, NULL, "rope_scaling.short_factor is missing|needs 3"},
    {"rope_scaling.long_factor", NULL, NULL, NULL, "rope_scaling.long_factor is missing|needs 3"},
    {"rope_scaling.short_factor", "[1, 1]", NULL, NULL, "rope_scaling.short_factor has 2|needs 3"},
    {"rope_scaling.long_factor", "[1, 1, 1, 1]", NULL, NULL, "rope_scaling.long_factor has 4|needs 3"},
    {"rope_scaling.long_factor", "[]", NULL, NULL, "rope_scaling.long_factor has 0|needs 3"},
    {"rope_scaling.long_factor", "5", NULL, NULL, "rope_scaling.long_factor"},
    {"rope_scaling.long_factor", "[1, 0, 1]", NULL, NULL, "rope_scaling.long_factor.1|above 0"},
    {"rope_scaling.long_factor", "[1, 1, \"9\"]", NULL, NULL, "rope_scaling.long_factor.2"},
    {"rope_scaling.short_factor", "[1, null, 1]", NULL, NULL, "rope_scaling.short_factor.1|missing"},
    {"rope_scaling.attention_factor", "0", NULL, NULL, "rope_scaling.attention_factor 0"},
    {"rope_scaling.attention_factor", "\"big\"", NULL, NULL, "rope_scaling.attention_factor"},
    {"rope_scaling.long_mscale", "1.24", NULL, NULL, "rope_scaling.long_mscale|1.24|attention_factor"},
    {"tie_word_embeddings", "false", NULL, NULL, "lm_head.weight"},
    {NULL, NULL, BLOCK "self_attn.qkv_proj.weight", NULL, BLOCK "self_attn.qkv_proj.weight"},
    {NULL, NULL, BLOCK "self_attn.qkv_proj.weight", "[63, 32]", BLOCK "self_attn.qkv_proj.weight|63"},
    {NULL, NULL, BLOCK "mlp.gate_up_proj.weight", "[20, 32]", BLOCK "mlp.gate_up_proj.weight|20"},
    {NULL, NULL, BLOCK "mlp.gate_up_proj.weight", NULL, BLOCK "mlp.gate_up_proj.weight"},
};

static void bad_configs(void **state)
{
    (void)state;
    assert_refused("llm/phi4", phi4_folder, bad_cases, sizeof bad_cases / sizeof *bad_cases);
}

/* ---- Good ones --------------------------------------------------------------------------------------------------- */

/* Logits after 1 to ROWS - 1 rows, past the edge, of a folder with up to three keys changed. */
static void run(const more_host *host, const char *const changes[][2], int count, float *logits)
{
    test_folder folder = phi4_folder();
    int32_t ids[ROWS];
    int64_t shape[2] = {1, VOCABULARY}, strides[2], last = -1;
    parity_tensor *row = parity_tensor_create(2, 1, VOCABULARY, 1);
    more_session *session;
    opened_decoder o;

    for (int i = 0; i < count; i++)
        folder_config(&folder, changes[i][0], changes[i][1]);
    folder_write(&folder);
    o = open_decoder("llm/phi4", host, &folder, MORE_OPEN_DEFAULT);
    if (o.status)
        fail_msg("%s", o.error.message);
    for (int32_t i = 0; i < ROWS; i++)
        ids[i] = (i * 7 + 3) % VOCABULARY;
    for (int64_t rows = 1; rows < ROWS; rows++) {
        more_segment segment = {.ids = ids, .count = rows};
        more_tensor view = more_host_tensor(row->data, more_f32(), 2, shape, strides);
        more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                             .segments = &segment,
                             .segment_count = 1,
                             .logit_rows = &last,
                             .logit_count = 1,
                             .logits = &view};
        assert_int_equal(o.interface->session_create(o.language, 0, &session, NULL), MORE_OK);
        item.session = session;
        assert_int_equal(o.interface->advance(o.language, &item, 1), MORE_OK);
        memcpy(logits + (rows - 1) * VOCABULARY, row->data, VOCABULARY * sizeof *logits);
        o.interface->session_destroy(session);
    }
    close_decoder(&o);
    parity_tensor_free(row);
    folder_free(&folder);
}

#define LISTS "\"short_factor\": [1.0, 1.1, 1.2], \"long_factor\": [1, 2.5, 9]"

typedef struct variant {
    const char *changes[4][2];
    int count;
    int64_t same; /* so many rows are bit for bit what the plain folder gives; the next one is not */
} variant;

static const variant variants[] = {
    {{{"rope_scaling.type", "\"su\""}}, 1, ROWS - 1},
    {{{"rope_scaling.type", "\"yarn\""}}, 1, ROWS - 1},
    {{{"rope_scaling", "{\"rope_type\": \"longrope\", " LISTS "}"}}, 1, ROWS - 1},
    /* As transformers 5 writes it. */
    {{{"rope_scaling", NULL},
      {"partial_rotary_factor", NULL},
      {"rope_parameters", "{\"rope_type\": \"longrope\", \"rope_theta\": 10000.0, \"partial_rotary_factor\": 0.75, "
                          "\"original_max_position_embeddings\": 16, " LISTS "}"}},
     3,
     ROWS - 1},
    {{{"rope_scaling.original_max_position_embeddings", "9"}}, 1, ROWS - 1}, /* the key beside the group wins */
    {{{"original_max_position_embeddings", "null"}, {"rope_scaling.original_max_position_embeddings", "16"}},
     2,
     ROWS - 1},
    {{{"sliding_window", "null"}}, 1, ROWS - 1},
    {{{"sliding_window", "64"}}, 1, ROWS - 1},
    {{{"sliding_window", "5"}}, 1, 5},
    {{{"head_dim", "8"}}, 1, ROWS - 1},
    {{{"rope_scaling.attention_factor", "1.2247448713915890"}}, 1, ROWS - 1}, /* sqrt(1 + ln 4 / ln 16) */
    {{{"rope_scaling.attention_factor", "1.1"}}, 1, 1}, /* one key's weight is 1 whatever its score */
    {{{"rope_scaling.long_factor", "[1, 2.5, 8]"}}, 1, 16},
    {{{"rope_scaling.short_factor", "[1, 1.1, 1.3]"}}, 1, 1},
    {{{"original_max_position_embeddings", "11"}, {"rope_scaling.attention_factor", "1.2247448713915890"}}, 2, 11},
    {{{"rope_theta", "9000"}}, 1, 1},
    {{{"rope_scaling", "null"}}, 1, 1},
};

static void good_configs(void **state)
{
    const more_host *host = parity_host(2);
    size_t size = VOCABULARY * sizeof(float);
    float plain[(ROWS - 1) * VOCABULARY], got[(ROWS - 1) * VOCABULARY];

    (void)state;
    run(host, NULL, 0, plain);
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++) {
        const variant *one = &variants[i];
        int64_t same = 0;
        run(host, one->changes, one->count, got);
        while (same < ROWS - 1 && !memcmp(got + same * VOCABULARY, plain + same * VOCABULARY, size))
            same++;
        if (same != one->same)
            fail_msg("%s = %s: %d rows are as without, not %d", one->changes[one->count - 1][0],
                     one->changes[one->count - 1][1], (int)same, (int)one->same);
    }
    assert_int_equal(parity_host_bytes(), 0);
    parity_host_close();
}

/* Rows whose positions were given one by one, past the edge at 16: how far the first ones of them reach is not kept, so
 * none may be cut, in a fork neither, and a fork is as long-ranged as its session. */
static void positions_given(void **state)
{
    static const int32_t ids[] = {3, 10, 17, 24};
    static const int64_t positions[] = {0, 1, 2, 20};
    const more_host *host = parity_host(2);
    test_folder folder = phi4_folder();
    more_session *sessions[2];
    opened_decoder o;

    (void)state;
    folder_write(&folder);
    o = open_decoder("llm/phi4", host, &folder, MORE_OPEN_DEFAULT);
    assert_int_equal(o.interface->session_create(o.language, 0, &sessions[0], NULL), MORE_OK);
    more_segment segment = {.ids = ids, .count = 4, .positions = positions};
    more_advance item = {.struct_size = MORE_STRUCT_SIZE(more_advance, error),
                         .session = sessions[0],
                         .segments = &segment,
                         .segment_count = 1};
    assert_int_equal(o.interface->advance(o.language, &item, 1), MORE_OK);
    assert_int_equal(o.interface->session_fork(sessions[0], &sessions[1], NULL), MORE_OK);
    for (int i = 0; i < 2; i++) {
        more_session_info info = {.struct_size = MORE_STRUCT_SIZE(more_session_info, floor)};
        o.interface->session_info(sessions[i], &info);
        assert_int_equal(info.length, 4);
        assert_int_equal(info.floor, 4);
        assert_int_equal(o.interface->session_truncate(sessions[i], 2, NULL), MORE_NEEDS_REPLAY);
    }
    segment = (more_segment){.ids = ids, .count = 1};
    for (int i = 0; i < 2; i++) {
        item.session = sessions[i];
        assert_int_equal(o.interface->advance(o.language, &item, 1), MORE_OK);
        o.interface->session_destroy(sessions[i]);
    }
    close_decoder(&o);
    folder_free(&folder);
    parity_host_close();
}

static void description(void **state)
{
    const more_host *host = parity_host(2);
    test_folder folder = phi4_folder();
    more_language_info info = {.struct_size = MORE_STRUCT_SIZE(more_language_info, weight_formats)};
    opened_decoder o;

    (void)state;
    folder_config(&folder, "model_architecture", "\"phi_4\"");
    folder_write(&folder);
    o = open_decoder("llm/phi4", host, &folder, MORE_OPEN_METADATA_ONLY);
    assert_int_equal(o.status, MORE_OK);
    o.interface->describe(o.language, &info);
    assert_int_equal(info.vocabulary, VOCABULARY);
    assert_int_equal(info.width, 32);
    assert_int_equal(info.context, 64);
    assert_int_equal(info.layers, 2);
    assert_int_equal(info.stop_count, 2);
    assert_int_equal(info.stop_ids[0], 8);
    assert_int_equal(info.stop_ids[1], 7);
    assert_string_equal(info.template_name, "phi_4");
    close_decoder(&o);
    folder_free(&folder);
    parity_host_close();
}

static void recognition(void **state)
{
    static const struct {
        const char *key, *value;
        int32_t score;
        const char *settings;
    } cases[] = {{"model_type", "\"phi3\"", 100, ""},
                 {"model_type", "\"phi4\"", 100, ""},
                 {"model_type", "\"llava_phi\"", 100, ""},
                 {"model_type", "\"llama\"", 0, ""},
                 {"model_type", NULL, 50, ""},
                 {"vocab_size", "200064", 100, "template = phi_4\n"},
                 {"vocab_size", "100352", 100, ""}};
    const more_host *host = parity_host(2);
    const more_language_interface *interface = parity_plugin("llm/phi4")->get_interface(MORE_LANGUAGE_INTERFACE);

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        more_recognition recognition = {.struct_size = sizeof recognition};
        test_folder folder = phi4_folder();
        parity_checkpoint checkpoint;
        folder_config(&folder, cases[i].key, cases[i].value);
        folder_write(&folder);
        checkpoint = parity_checkpoint_open(folder.source, NULL, interface->tensor_map());
        interface->recognise(host, checkpoint.files, &recognition);
        assert_int_equal(recognition.score, cases[i].score);
        assert_string_equal(recognition.settings, cases[i].settings);
        parity_checkpoint_close(&checkpoint);
        folder_free(&folder);
    }
    parity_host_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_configs), cmocka_unit_test(good_configs),
                                       cmocka_unit_test(positions_given), cmocka_unit_test(description),
                                       cmocka_unit_test(recognition)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
