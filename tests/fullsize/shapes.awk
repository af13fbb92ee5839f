# SPDX-License-Identifier: Apache-2.0
# config.json, one key a line, to shapes.json: name, type and shape of every tensor that such a checkpoint has, for
# `weights = synthetic:FOLDER`. Of keys that stand twice the innermost counts, but for model_type.

/"[a-z0-9_]+": [^{]/ {
    key = $0; sub(/^[^"]*"/, "", key); sub(/".*/, "", key)
    value = $0; sub(/^[^:]*: /, "", value); sub(/,$/, "", value); gsub(/"/, "", value)
    if (key != "model_type" || !("model_type" in config)) config[key] = value ~ /^[0-9.e-]+$/ ? value + 0 : value
}

function put(name, shape) { printf "%s\n  \"%s\": [\"%s\", [%s]]", separator, name, type, shape; separator = "," }

# A linear layer or a norm with its bias.
function biased(name, shape) { put(name ".weight", shape); sub(/,.*/, "", shape); put(name ".bias", shape) }

function language(   n, i, base, w, q, kv, inner, head) {
    w = config["hidden_size"]; inner = config["intermediate_size"]
    head = config["head_dim"] ? config["head_dim"] : w / config["num_attention_heads"]
    q = head * config["num_attention_heads"]; kv = head * config["num_key_value_heads"]
    put("model.embed_tokens.weight", config["vocab_size"] "," w)
    for (i = 0; i < config["num_hidden_layers"]; i++) {
        base = "model.layers." i "."
        put(base "input_layernorm.weight", w); put(base "post_attention_layernorm.weight", w)
        if (kind ~ /gemma/) {
            put(base "pre_feedforward_layernorm.weight", w); put(base "post_feedforward_layernorm.weight", w)
        }
        if (kind ~ /phi/) {
            put(base "self_attn.qkv_proj.weight", (q + 2 * kv) "," w); put(base "mlp.gate_up_proj.weight", (2 * inner) "," w)
        } else {
            put(base "self_attn.q_proj.weight", q "," w); put(base "self_attn.k_proj.weight", kv "," w)
            put(base "self_attn.v_proj.weight", kv "," w)
            put(base "mlp.gate_proj.weight", inner "," w); put(base "mlp.up_proj.weight", inner "," w)
        }
        put(base "self_attn.o_proj.weight", w "," q); put(base "mlp.down_proj.weight", w "," inner)
    }
    put("model.norm.weight", w)
    if (config["tie_word_embeddings"] != "true") put("lm_head.weight", config["vocab_size"] "," w)
}

function projector(   w) {
    w = config["hidden_size"]
    biased("model.mm_projector.0", w "," config["mm_hidden_size"]); biased("model.mm_projector.2", w "," w)
}

function encoder(   i, base, w, inner, side, names) {
    w = config["hidden_size"]; inner = config["intermediate_size"]; side = int(config["image_size"] / config["patch_size"])
    base = "vision_model.embeddings."
    put(base "patch_embedding.weight", w ",3," config["patch_size"] "," config["patch_size"])
    if (kind == "clip") put(base "class_embedding", w); else put(base "patch_embedding.bias", w)
    put(base "position_embedding.weight", (side * side + (kind == "clip")) "," w)
    if (kind == "clip") biased("vision_model.pre_layrnorm", w)
    for (i = 0; i < config["num_hidden_layers"]; i++) {
        base = "vision_model.encoder.layers." i "."
        biased(base "layer_norm1", w); biased(base "layer_norm2", w)
        biased(base "self_attn.q_proj", w "," w); biased(base "self_attn.k_proj", w "," w)
        biased(base "self_attn.v_proj", w "," w); biased(base "self_attn.out_proj", w "," w)
        biased(base "mlp.fc1", inner "," w); biased(base "mlp.fc2", w "," inner)
    }
    biased("vision_model.post_layernorm", w)
}

function dinov2(   i, base, w, inner, side) {
    w = config["hidden_size"]; inner = w * config["mlp_ratio"]; side = int(config["image_size"] / config["patch_size"])
    put("embeddings.cls_token", "1,1," w); put("embeddings.mask_token", "1," w)
    put("embeddings.position_embeddings", "1," (side * side + 1) "," w)
    biased("embeddings.patch_embeddings.projection", w ",3," config["patch_size"] "," config["patch_size"])
    for (i = 0; i < config["num_hidden_layers"]; i++) {
        base = "encoder.layer." i "."
        biased(base "norm1", w); biased(base "norm2", w)
        biased(base "attention.attention.query", w "," w); biased(base "attention.attention.key", w "," w)
        biased(base "attention.attention.value", w "," w); biased(base "attention.output.dense", w "," w)
        put(base "layer_scale1.lambda1", w); put(base "layer_scale2.lambda1", w)
        biased(base "mlp.fc1", inner "," w); biased(base "mlp.fc2", w "," inner)
    }
    biased("layernorm", w)
}

END {
    kind = config["model_type"]; type = config["torch_dtype"] == "float32" ? "f32" : "f16"; separator = "{"
    if (kind == "dinov2") dinov2()
    else if (kind == "clip" || kind == "siglip") encoder()
    else if (kind) language()
    if (config["mm_projector_type"] == "mlp2x_gelu") projector()
    print "\n}"
}
