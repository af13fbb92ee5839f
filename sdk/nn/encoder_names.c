/* SPDX-License-Identifier: Apache-2.0 */
#include "encoder.h"

#define LAYER "layers.*."
#define HF "vision_model.encoder.layers.*."
#define GGUF "v.blk.*."

static const more_tensor_name names[] = {
    {"class_token", "vision_model.embeddings.class_embedding", "v.class_embd", MORE_TRANSFORM_NONE, true},
    {"patch.weight", "vision_model.embeddings.patch_embedding.weight", "v.patch_embd.weight", MORE_TRANSFORM_NONE,
     false},
    {"patch.bias", "vision_model.embeddings.patch_embedding.bias", "v.patch_embd.bias", MORE_TRANSFORM_NONE, true},
    {"positions", "vision_model.embeddings.position_embedding.weight", "v.position_embd.weight", MORE_TRANSFORM_NONE,
     false},
    {"norm.weight", "vision_model.pre_layrnorm.weight", "v.pre_ln.weight", MORE_TRANSFORM_NONE, true},
    {"norm.bias", "vision_model.pre_layrnorm.bias", "v.pre_ln.bias", MORE_TRANSFORM_NONE, true},
    {LAYER "norm1.weight", HF "layer_norm1.weight", GGUF "ln1.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "norm1.bias", HF "layer_norm1.bias", GGUF "ln1.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.weight", HF "self_attn.q_proj.weight", GGUF "attn_q.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.query.bias", HF "self_attn.q_proj.bias", GGUF "attn_q.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.weight", HF "self_attn.k_proj.weight", GGUF "attn_k.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.key.bias", HF "self_attn.k_proj.bias", GGUF "attn_k.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.weight", HF "self_attn.v_proj.weight", GGUF "attn_v.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.value.bias", HF "self_attn.v_proj.bias", GGUF "attn_v.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "attention.output.weight", HF "self_attn.out_proj.weight", GGUF "attn_out.weight", MORE_TRANSFORM_NONE,
     false},
    {LAYER "attention.output.bias", HF "self_attn.out_proj.bias", GGUF "attn_out.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.weight", HF "layer_norm2.weight", GGUF "ln2.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "norm2.bias", HF "layer_norm2.bias", GGUF "ln2.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.weight", HF "mlp.fc1.weight", GGUF "ffn_up.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.up.bias", HF "mlp.fc1.bias", GGUF "ffn_up.bias", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.weight", HF "mlp.fc2.weight", GGUF "ffn_down.weight", MORE_TRANSFORM_NONE, false},
    {LAYER "mlp.down.bias", HF "mlp.fc2.bias", GGUF "ffn_down.bias", MORE_TRANSFORM_NONE, false},
};

const more_tensor_map *nn_encoder_vision_model_map(void)
{
    static const more_tensor_map map = {MORE_STRUCT_SIZE(more_tensor_map, count), names,
                                        (int32_t)(sizeof names / sizeof *names)};
    return &map;
}
