/* SPDX-License-Identifier: Apache-2.0
 *
 * SigLIP 2: recognising a checkpoint, its config.
 */
#include "siglip2.h"

#include <string.h>

#define VOCABULARY 256000 /* of SigLIP 2's text model (Gemma's tokenizer); SigLIP's have 32000 and 250000 */
#define BILINEAR 2        /* Pillow's number: SigLIP 2's processors resize so, SigLIP's bicubically (3) */
#define BUDGET 256        /* patches; default of transformers' Siglip2ImageProcessor */
#define MAX_BUDGET 16384

/* Fixed forms first. */
static const char *const types[] = {"siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model"};
enum { FIXED_TYPES = 2, ALL_TYPES = 4 };

static bool is_fixed(const char *type)
{
    for (int i = 0; i < FIXED_TYPES; i++)
        if (!strcmp(type, types[i]))
            return true;
    return false;
}

/* ---- Config ----------------------------------------------------------------------------------------------------- */

static more_status read_type(more_vision *siglip2, const nn_source *source, more_error *error)
{
    char key[NN_ENCODER_KEY_SIZE];
    const char *type = types[0];
    more_status status = nn_encoder_require_type(&siglip2->encoder, source, "SigLIP 2", types, ALL_TYPES, error);

    if (!status)
        status = nn_config_string_or(source, nn_encoder_key(source->weights, source->checkpoint, "model_type", key),
                                     &type, error);
    siglip2->naflex = !status && !is_fixed(type);
    return status;
}

/* The square table of positions, and how many patches an image may have: the INI, else the image processor. */
static more_status read_budget(more_vision *siglip2, const nn_source *source, const more_open *arguments,
                               more_error *error)
{
    nn_encoder *encoder = &siglip2->encoder;
    char key[NN_ENCODER_KEY_SIZE];
    int64_t positions = 256, budget = 0;
    more_status status = nn_config_int64_or(
        source, nn_encoder_key(source->weights, source->checkpoint, "num_patches", key), 1, 1 << 20, &positions, error);

    while (siglip2->side * siglip2->side < positions)
        siglip2->side++;
    if (!status && siglip2->side * siglip2->side != positions)
        status = more_fail(error, MORE_ERROR_CORRUPT, "%s: %s %lld is not the square of a number of patches a side",
                           source->weights->path(source->checkpoint), key, (long long)positions);
    if (!status && arguments->option_count > SIGLIP2_OPTION_MAX_NUM_PATCHES)
        budget = arguments->options[SIGLIP2_OPTION_MAX_NUM_PATCHES].as.i;
    if (!status && !budget) {
        budget = BUDGET;
        status = nn_config_int64_or(source, "preprocessor_config.max_num_patches", 1, MAX_BUDGET, &budget, error);
    }
    siglip2->budget = budget;
    encoder->image_size = siglip2->side * encoder->patch_size;
    encoder->tokens = budget;
    encoder->embed_floats = budget * (3 * encoder->patch_size * encoder->patch_size + encoder->width);
    return status;
}

/* The processor may resize to other sizes than the tower's own only where the plan says so. */
static void write_preprocess(more_vision *siglip2)
{
    nn_encoder *encoder = &siglip2->encoder;
    long long size = (long long)encoder->image_size;
    char resize[64] = "resize_to_plan(bilinear)";

    if (!siglip2->naflex)
        snprintf(resize, sizeof resize, "resize(%lld, %lld, bilinear)", size, size);
    snprintf(encoder->preprocess, sizeof encoder->preprocess,
             "convert_rgb(), %s, rescale(1/255), normalize(0.5, 0.5, 0.5, 0.5, 0.5, 0.5)", resize);
}

/* Keys that are missing have the defaults of SiglipVisionConfig and Siglip2VisionConfig: those of the base size. */
more_status siglip2_configure(nn_encoder *encoder, const nn_source *source, const more_open *arguments,
                              more_error *error)
{
    more_vision *siglip2 = (more_vision *)encoder;
    more_status status = read_type(siglip2, source, error);

    encoder->width = 768;
    encoder->layers = 12;
    encoder->heads = 12;
    encoder->intermediate = 3072;
    encoder->image_size = 224;
    encoder->patch_size = 16;
    encoder->epsilon = 1e-6;
    encoder->activation = NN_GELU_TANH;
    encoder->attention_bias = true;
    encoder->resolutions = siglip2->naflex ? MORE_RESOLUTION_BUDGET : MORE_RESOLUTION_FIXED;
    if (!status)
        status = nn_encoder_read_config(encoder, source, error);
    if (status)
        return status;
    nn_encoder_fix_size(encoder);
    siglip2->side = siglip2->naflex ? 1 : encoder->image_size / encoder->patch_size;
    if (siglip2->naflex)
        status = read_budget(siglip2, source, arguments, error);
    write_preprocess(siglip2);
    return status;
}

/* ---- Recognising ------------------------------------------------------------------------------------------------ */

/* The folder's or file's own name, without what lies above it. */
static bool name_says_siglip2(const char *path)
{
    const char *name = path, *slash;

    while ((slash = strchr(name, '/')) && slash[1])
        name = slash + 1;
    return strstr(name, "siglip2") || strstr(name, "siglip-2") || strstr(name, "SigLIP2");
}

/* What in a folder of type siglip speaks for SigLIP 2, as text; false where nothing does. */
static bool find_evidence(const more_weights_service *weights, more_checkpoint *checkpoint, char *text, size_t size)
{
    int64_t number = 0;
    const char *path = weights->path(checkpoint), *name = NULL;

    weights->get_int64(checkpoint, "text_config.vocab_size", &number, NULL);
    if (number) {
        snprintf(text, size, "text_config.vocab_size %lld", (long long)number);
        return number == VOCABULARY;
    }
    weights->get_string(checkpoint, "_name_or_path", &name, NULL);
    if (name && name_says_siglip2(name)) {
        snprintf(text, size, "_name_or_path %.100s", name);
        return true;
    }
    weights->get_int64(checkpoint, "preprocessor_config.resample", &number, NULL);
    if (number) {
        snprintf(text, size, "preprocessor_config.json resample %lld", (long long)number);
        return number == BILINEAR;
    }
    snprintf(text, size, "the name %.200s", path);
    return name_says_siglip2(path);
}

void siglip2_recognise(const more_host *host, more_checkpoint *checkpoint, more_recognition *recognition)
{
    const more_weights_service *weights = nn_encoder_recognise(host, checkpoint, types, ALL_TYPES, recognition);
    char key[NN_ENCODER_KEY_SIZE], said[128], evidence[320];
    const char *type = types[0];

    if (!recognition->score)
        return;
    weights->get_string(checkpoint, nn_encoder_key(weights, checkpoint, "model_type", key), &type, NULL);
    if (!is_fixed(type))
        return;
    snprintf(said, sizeof said, "%.127s", recognition->reason);
    if (find_evidence(weights, checkpoint, evidence, sizeof evidence)) {
        recognition->score = 95;
        snprintf(recognition->reason, sizeof recognition->reason, "%s, and %s is SigLIP 2's", said, evidence);
    } else {
        recognition->score = 60;
        snprintf(recognition->reason, sizeof recognition->reason, "%s, but %s does not speak for SigLIP 2", said,
                 evidence);
    }
}
