/* SPDX-License-Identifier: Apache-2.0 */
#include "folder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *value = json_loads(text, JSON_DECODE_ANY, &error);
    if (!value)
        fail_msg("%s: %s", text, error.text);
    return value;
}

void folder_config(test_folder *folder, const char *key, const char *text)
{
    json_t *object = folder->config;
    const char *dot;

    while ((dot = strchr(key, '.'))) {
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(dot - key), key);
        object = json_object_get(object, name);
        assert_non_null(object);
        key = dot + 1;
    }
    if (text)
        json_object_set_new(object, key, parse(text));
    else
        assert_int_equal(json_object_del(object, key), 0);
}

void folder_shape(test_folder *folder, const char *name, const char *text)
{
    if (text)
        json_object_set_new(folder->shapes, name, json_pack("[s, o]", "f16", parse(text)));
    else
        assert_int_equal(json_object_del(folder->shapes, name), 0);
}

typedef struct row {
    const char *name, *shape;
} row;

/* Adds rows whose name has a %d once for each layer, the others once. */
static void add(test_folder *folder, const row *rows, size_t count, int layers)
{
    for (size_t i = 0; i < count; i++) {
        const char *mark = strstr(rows[i].name, "%d");
        for (int layer = 0; layer < (mark ? layers : 1); layer++) {
            char name[128];
            if (mark)
                snprintf(name, sizeof name, "%.*s%d%s", (int)(mark - rows[i].name), rows[i].name, layer, mark + 2);
            else
                snprintf(name, sizeof name, "%s", rows[i].name);
            folder_shape(folder, name, rows[i].shape);
        }
    }
}

test_folder folder_clip(void)
{
    static const row rows[] = {{"vision_model.embeddings.class_embedding", "[12]"},
                               {"vision_model.embeddings.patch_embedding.weight", "[12, 3, 7, 7]"},
                               {"vision_model.embeddings.position_embedding.weight", "[17, 12]"},
                               {"vision_model.pre_layrnorm.weight", "[12]"},
                               {"vision_model.pre_layrnorm.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.layer_norm1.weight", "[12]"},
                               {"vision_model.encoder.layers.%d.layer_norm1.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.self_attn.q_proj.weight", "[12, 12]"},
                               {"vision_model.encoder.layers.%d.self_attn.q_proj.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.self_attn.k_proj.weight", "[12, 12]"},
                               {"vision_model.encoder.layers.%d.self_attn.k_proj.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.self_attn.v_proj.weight", "[12, 12]"},
                               {"vision_model.encoder.layers.%d.self_attn.v_proj.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.self_attn.out_proj.weight", "[12, 12]"},
                               {"vision_model.encoder.layers.%d.self_attn.out_proj.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.layer_norm2.weight", "[12]"},
                               {"vision_model.encoder.layers.%d.layer_norm2.bias", "[12]"},
                               {"vision_model.encoder.layers.%d.mlp.fc1.weight", "[20, 12]"},
                               {"vision_model.encoder.layers.%d.mlp.fc1.bias", "[20]"},
                               {"vision_model.encoder.layers.%d.mlp.fc2.weight", "[12, 20]"},
                               {"vision_model.encoder.layers.%d.mlp.fc2.bias", "[12]"}};
    test_folder made = {.shapes = json_object()};

    made.config = parse("{\"model_type\": \"clip\", \"vision_config\": {\"model_type\": \"clip_vision_model\", "
                        "\"hidden_size\": 12, \"num_hidden_layers\": 3, \"num_attention_heads\": 4, "
                        "\"intermediate_size\": 20, \"image_size\": 28, \"patch_size\": 7, "
                        "\"hidden_act\": \"quick_gelu\", \"layer_norm_eps\": 1e-05}}");
    add(&made, rows, sizeof rows / sizeof *rows, 3);
    return made;
}

test_folder folder_llama(int layers)
{
    static const row rows[] = {{"model.embed_tokens.weight", "[50, 16]"},
                               {"model.layers.%d.input_layernorm.weight", "[16]"},
                               {"model.layers.%d.post_attention_layernorm.weight", "[16]"},
                               {"model.layers.%d.self_attn.q_proj.weight", "[16, 16]"},
                               {"model.layers.%d.self_attn.k_proj.weight", "[8, 16]"},
                               {"model.layers.%d.self_attn.v_proj.weight", "[8, 16]"},
                               {"model.layers.%d.self_attn.o_proj.weight", "[16, 16]"},
                               {"model.layers.%d.mlp.gate_proj.weight", "[20, 16]"},
                               {"model.layers.%d.mlp.up_proj.weight", "[20, 16]"},
                               {"model.layers.%d.mlp.down_proj.weight", "[16, 20]"},
                               {"model.norm.weight", "[16]"},
                               {"lm_head.weight", "[50, 16]"}};
    test_folder made = {.shapes = json_object()};

    made.config = parse("{\"model_type\": \"llama\", \"hidden_size\": 16, \"num_attention_heads\": 4, "
                        "\"num_key_value_heads\": 2, \"intermediate_size\": 20, \"vocab_size\": 50, "
                        "\"max_position_embeddings\": 8192, \"rms_norm_eps\": 1e-05, \"rope_theta\": 500000.0, "
                        "\"hidden_act\": \"silu\", \"tie_word_embeddings\": false, \"bos_token_id\": 1, "
                        "\"eos_token_id\": [2, 3], \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8.0, "
                        "\"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "
                        "\"original_max_position_embeddings\": 1024}}");
    json_object_set_new(made.config, "num_hidden_layers", json_integer(layers));
    add(&made, rows, sizeof rows / sizeof *rows, layers);
    return made;
}

test_folder folder_mlp(void)
{
    static const row rows[] = {{"model.mm_projector.0.weight", "[16, 12]"},
                               {"model.mm_projector.0.bias", "[16]"},
                               {"model.mm_projector.2.weight", "[16, 16]"},
                               {"model.mm_projector.2.bias", "[16]"}};
    test_folder made = {.shapes = json_object()};

    made.config = parse("{\"model_type\": \"llava_llama\", \"mm_projector_type\": \"mlp2x_gelu\"}");
    add(&made, rows, sizeof rows / sizeof *rows, 1);
    return made;
}

static void write_json(const test_folder *folder, const char *name, const json_t *value)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder->path, name);
    assert_int_equal(json_dump_file(value, path, 0), 0);
}

void folder_write(test_folder *folder)
{
    snprintf(folder->path, sizeof folder->path, "/tmp/llavamore-test-XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    write_json(folder, "config.json", folder->config);
    write_json(folder, "shapes.json", folder->shapes);
    snprintf(folder->source, sizeof folder->source, "synthetic:%s?seed=7", folder->path);
}

void folder_free(test_folder *folder)
{
    static const char *const names[] = {"config.json", "shapes.json"};

    for (size_t i = 0; i < 2 && folder->path[0]; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder->path, names[i]);
        unlink(path);
    }
    if (folder->path[0])
        rmdir(folder->path);
    json_decref(folder->config);
    json_decref(folder->shapes);
}

void assert_names(const char *message, const char *wanted)
{
    char text[256], *rest = text, *part;

    snprintf(text, sizeof text, "%s", wanted);
    while ((part = strsep(&rest, "|")))
        if (!strstr(message, part))
            fail_msg("\"%s\" does not say \"%s\"", message, part);
    assert_null(strchr(message, '\n'));
}
