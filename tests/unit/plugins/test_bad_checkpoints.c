/* SPDX-License-Identifier: Apache-2.0
 *
 * One clear line for each thing that may be wrong with a checkpoint, and nothing left behind.
 */
#include "opened.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct bad_case {
    plugin_kind kind;
    const char *key, *value;    /* change of the config; or */
    const char *tensor, *shape; /* of a tensor; NULL shape removes it */
    const char *message;        /* what the line must name; a second thing behind '|' */
} bad_case;

#define BLOCK "vision_model.encoder.layers.2."
#define LAYER "model.layers.1."

static const bad_case bad_cases[] = {
    {CLIP, "vision_config.hidden_size", NULL, NULL, NULL, "hidden_size"},
    {CLIP, "vision_config.hidden_size", "\"wide\"", NULL, NULL, "hidden_size"},
    {CLIP, "vision_config.hidden_size", "0", NULL, NULL, "hidden_size|0"},
    {CLIP, "vision_config.hidden_size", "24", NULL, NULL, "vision_model.embeddings.patch_embedding.weight|24"},
    {CLIP, "vision_config.num_attention_heads", "5", NULL, NULL, "num_attention_heads 5|12"},
    {CLIP, "vision_config.num_hidden_layers", "4", NULL, NULL, "vision_model.encoder.layers.3."},
    {CLIP, "vision_config.num_hidden_layers", "1000000000", NULL, NULL, "num_hidden_layers|1000000000"},
    {CLIP, "vision_config.patch_size", "29", NULL, NULL, "patch_size 29|28"},
    {CLIP, "vision_config.image_size", "35", NULL, NULL, "vision_model.embeddings.position_embedding.weight|26"},
    {CLIP, "vision_config.num_channels", "4", NULL, NULL, "num_channels|4"},
    {CLIP, "vision_config.hidden_act", "\"swish\"", NULL, NULL, "hidden_act|swish"},
    {CLIP, "vision_config.layer_norm_eps", "-1", NULL, NULL, "layer_norm_eps"},
    {CLIP, "vision_config.model_type", "\"siglip_vision_model\"", NULL, NULL, "siglip_vision_model|clip"},
    {CLIP, NULL, NULL, "vision_model.pre_layrnorm.bias", NULL, "vision_model.pre_layrnorm.bias"},
    {CLIP, NULL, NULL, BLOCK "mlp.fc2.weight", "[20, 12]", BLOCK "mlp.fc2.weight|20"},
    {CLIP, NULL, NULL, BLOCK "self_attn.k_proj.bias", "[11]", BLOCK "self_attn.k_proj.bias|11"},
    {CLIP, NULL, NULL, "vision_model.embeddings.position_embedding.weight", "[12, 17]",
     "vision_model.embeddings.position_embedding.weight|17"},
    {MLP, "mm_projector_type", "\"mlp3x_gelu\"", NULL, NULL, "mlp3x_gelu has 3 layers|2"},
    {MLP, "mm_projector_type", "\"resampler\"", NULL, NULL, "resampler"},
    {MLP, "mm_projector_type", "\"mlp2x_gelu_tanh\"", NULL, NULL, "mlp2x_gelu_tanh"},
    {MLP, NULL, NULL, "model.mm_projector.0.weight", NULL, "0.weight"},
    {MLP, NULL, NULL, "model.mm_projector.2.bias", NULL, "2.bias"},
    {MLP, NULL, NULL, "model.mm_projector.2.weight", "[16, 15]", "2.weight|15"},
    {MLP, NULL, NULL, "model.mm_projector.0.weight", "[16, 13]", "takes 13|12"},
    {MLP, NULL, NULL, "model.mm_projector.2.weight", "[17, 16]", "rows of 17|16"},
    {MLP, NULL, NULL, "model.mm_projector.0.weight", "[16]", "0.weight|rank 1"},
    {LLAMA, "vocab_size", NULL, NULL, NULL, "vocab_size"},
    {LLAMA, "vocab_size", "51", NULL, NULL, "model.embed_tokens.weight|51"},
    {LLAMA, "num_key_value_heads", "3", NULL, NULL, "num_key_value_heads 3|4"},
    {LLAMA, "num_attention_heads", "32", NULL, NULL, "head_dim 0"},
    {LLAMA, "head_dim", "7", NULL, NULL, "head_dim 7"},
    {LLAMA, "head_dim", "1024", NULL, NULL, "head_dim|1024|512"},
    {LLAMA, "hidden_size", "4096", NULL, NULL, "hidden_size 4096|heads of 1024|512"},
    {LLAMA, "head_dim", "8", NULL, NULL, "self_attn.q_proj.weight|32"},
    {LLAMA, "hidden_act", "\"gelu\"", NULL, NULL, "hidden_act|gelu"},
    {LLAMA, "rms_norm_eps", "0", NULL, NULL, "rms_norm_eps"},
    {LLAMA, "rope_theta", "-1", NULL, NULL, "rope_theta"},
    {LLAMA, "rope_scaling.rope_type", "\"yarn\"", NULL, NULL, "rope_type|yarn"},
    {LLAMA, "rope_scaling.factor", NULL, NULL, NULL, "rope_scaling.factor is missing"},
    {LLAMA, "rope_scaling.high_freq_factor", "0.5", NULL, NULL, "low_freq_factor|0.5"},
    {LLAMA, "rope_scaling.high_freq_factor", "1", NULL, NULL, "low_freq_factor 1 is not below high_freq_factor 1"},
    {LLAMA, "attention_bias", "true", NULL, NULL, "self_attn.q_proj.bias"},
    {LLAMA, "mlp_bias", "true", NULL, NULL, "mlp.gate_proj.bias"},
    {LLAMA, "eos_token_id", "[\"end\"]", NULL, NULL, "eos_token_id"},
    {LLAMA, NULL, NULL, "lm_head.weight", NULL, "lm_head.weight"},
    {LLAMA, NULL, NULL, LAYER "self_attn.o_proj.weight", NULL, LAYER "self_attn.o_proj.weight"},
    {LLAMA, NULL, NULL, LAYER "self_attn.v_proj.weight", "[16, 16]", LAYER "self_attn.v_proj.weight|8"},
    {LLAMA, NULL, NULL, "model.norm.weight", "[15]", "model.norm.weight|15"},
};

static void bad_checkpoints(void **state)
{
    const more_host *host = parity_host(2);

    (void)state;
    for (size_t i = 0; i < sizeof bad_cases / sizeof *bad_cases; i++)
        for (int metadata = 0; metadata < 2; metadata++) {
            const bad_case *one = &bad_cases[i];
            test_folder folder = new_folder(one->kind);
            opened o;
            if (one->key)
                folder_config(&folder, one->key, one->value);
            else
                folder_shape(&folder, one->tensor, one->shape);
            folder_write(&folder);
            o = open_folder(one->kind, &folder, metadata ? MORE_OPEN_METADATA_ONLY : MORE_OPEN_DEFAULT, host, NULL,
                            NULL);
            if (o.status >= 0)
                fail_msg("%s: \"%s\" was not refused", kinds[one->kind].path, one->message);
            assert_names(o.error.message, one->message);
            assert_null(o.instance);
            close_opened(&o);
            assert_int_equal(parity_host_bytes(), 0);
            folder_free(&folder);
        }
    parity_host_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bad_checkpoints)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
