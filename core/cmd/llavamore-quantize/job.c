/* SPDX-License-Identifier: Apache-2.0 */
#include "job.h"

#include "assembly/data.h"
#include "base/file.h"
#include "base/json.h"
#include "quantise.h"
#include "stop.h"
#include "text/tokenizer_export.h"
#include "weights/checkpoint.h"
#include "weights/view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static more_status no_memory(more_error *error)
{
    return more_fail(error, MORE_ERROR_MEMORY, "out of memory");
}

/* ---- Outputs ------------------------------------------------------------------------------------------------------
 */

static bool same_file(const char *a, const char *b)
{
    struct stat one, other;
    return stat(a, &one) == 0 && stat(b, &other) == 0 && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

/* True when the checkpoint reads from this file. */
static bool reads_from(const more_checkpoint *checkpoint, const char *path)
{
    for (size_t i = 0; checkpoint && i < checkpoint->source->file_count; i++) {
        const core_tensor_table *table = core_tensor_file_tensors(checkpoint->source->files[i]);
        if (table->count && same_file(table->entries[0].path, path))
            return true;
    }
    return false;
}

static more_status check_output(const job *work, const char *path, more_error *error)
{
    struct stat about;
    const core_assembly *source = work->source;
    bool there = stat(path, &about) == 0;
    if (!there && errno != ENOENT)
        return more_fail(error, MORE_ERROR_IO, "%s: %s", path, strerror(errno));
    if (!there)
        return MORE_OK;
    if (!S_ISREG(about.st_mode))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: is no plain file, so nothing can take its place whole", path);
    if (reads_from(source->folder, path) || reads_from(source->vision_part.checkpoint, path) ||
        reads_from(source->projector_part.checkpoint, path))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: is read as the source: write to another file", path);
    if (!work->args->force)
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: is there already; --force replaces it", path);
    return MORE_OK;
}

more_status job_check_outputs(const job *work, more_error *error)
{
    const arguments *args = work->args;
    if (args->mmproj && (!strcmp(args->output, args->mmproj) || same_file(args->output, args->mmproj)))
        return more_fail(error, MORE_ERROR_ARGUMENT, "%s: is named for both files", args->output);
    more_status status = check_output(work, args->output, error);
    return status == MORE_OK && args->mmproj ? check_output(work, args->mmproj, error) : status;
}

/* ---- Planning ------------------------------------------------------------------------------------------------------
 */

static void quantise(const core_gguf_format *format, const float *values, int64_t count, void *blocks)
{
    static const struct {
        const char *title;
        nn_blocks kind;
    } kinds[] = {{"Q8_0", NN_BLOCKS_Q8_0}, {"Q4_0", NN_BLOCKS_Q4_0}, {"Q4_1", NN_BLOCKS_Q4_1}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(format->title, kinds[i].title))
            nn_quantise(kinds[i].kind, values, count, blocks);
}

static bool stopped(void *user)
{
    (void)user;
    return stop_asked();
}

static void progress(void *user, int64_t done, int64_t total)
{
    const job *work = user;
    const core_export_request *first = &work->requests[JOB_LANGUAGE];
    const char *path = first->path;
    if (work->exports[JOB_MMPROJ] && core_gguf_writer_temporary(core_export_writer(work->exports[JOB_MMPROJ])))
        path = work->requests[JOB_MMPROJ].path;
    work->progress(path, done, total);
}

static core_export_part part_of(const core_backbone *backbone)
{
    const core_backbone_interface *table = backbone->interface;
    return (core_export_part){.checkpoint = backbone->checkpoint,
                              .map = table->tensor_map ? table->tensor_map() : NULL,
                              .recognise = table->recognise,
                              .layers = -1};
}

static core_export_request *request_for(job *work, int file)
{
    bool language = file == JOB_LANGUAGE;
    core_export_request *wanted = &work->requests[file];
    *wanted = (core_export_request){.path = language ? work->args->output : work->args->mmproj,
                                    .rules = work->rules,
                                    .kind = language ? "language" : "vision",
                                    .name = work->name,
                                    .format = language ? work->args->type : work->args->mmproj_type,
                                    .facts = work->facts[file],
                                    .host = core_host_abi(work->shop->host),
                                    .quantise = quantise,
                                    .stopped = stopped,
                                    .progress = work->progress ? progress : NULL,
                                    .user = work};
    return wanted;
}

/* The name that a GGUF file has for itself, else the last part of where the source is, as it was named. */
static char *name_of(const core_assembly *source)
{
    const char *own = json_string_value(core_json_at(core_checkpoint_config(source->folder), "general.name"));
    if (own && core_checkpoint_is_gguf(source->folder))
        return strdup(own);
    const core_config_entry *entry = core_config_find(source->config, "llm", "weights");
    const char *said = entry ? entry->value : source->language_path;
    size_t end = strlen(said);
    while (end > 1 && said[end - 1] == '/')
        end--;
    size_t start = end;
    while (start && said[start - 1] != '/')
        start--;
    return strndup(said + start, end - start);
}

static char *data_file(const char *name)
{
    char *folder = core_data_folder("layouts"), *path = folder ? core_path_join(folder, name) : NULL;
    free(folder);
    return path;
}

/* ---- The language model --------------------------------------------------------------------------------------------
 */

/* The tokenizer's keys; without one the file says so, which will do for tests of speed. */
static more_status add_tokenizer(job *work, core_export *export, more_error *error)
{
    const core_assembly *source = work->source;
    const char *own = core_config_string(source->config, "llm", "tokenizer");
    const more_language_info *info = &source->language_info;
    if (!source->tokenizer) {
        core_gguf_put_text(core_export_writer(export), "tokenizer.ggml.model", "none");
        json_array_append_new(core_export_notes(export), json_string("the source has no tokenizer: nor has the file"));
        return MORE_OK;
    }
    char *rules = data_file("gguf-tokenizers.json");
    core_tokenizer_source tokens = {.path = own && *own ? own : core_checkpoint_tokenizer(source->folder),
                                    .tokenizer = source->tokenizer,
                                    .rules = rules,
                                    .stops = source->stop_ids.count ? source->stop_ids.data : info->stop_ids,
                                    .stop_count =
                                        source->stop_ids.count ? source->stop_ids.count : (size_t)info->stop_count,
                                    .rows = info->vocabulary};
    more_status status =
        rules ? core_tokenizer_export(&tokens, core_export_writer(export), core_export_notes(export), error)
              : no_memory(error);
    free(rules);
    return status;
}

static more_status plan_language(job *work, more_error *error)
{
    const core_assembly *source = work->source;
    const char *conversation = source->conversation ? core_template_name(source->conversation) : NULL;
    bool inline_text = conversation && !strcmp(conversation, "inline");
    work->facts[JOB_LANGUAGE] = json_object();
    if (conversation && !inline_text)
        json_object_set_new(work->facts[JOB_LANGUAGE], "template", json_string(conversation));
    core_export_request *wanted = request_for(work, JOB_LANGUAGE);
    wanted->parts[wanted->part_count++] = part_of(&source->language_part);
    more_status status = core_export_create(wanted, &work->exports[JOB_LANGUAGE], error);
    if (status != MORE_OK)
        return status;
    json_t *notes = core_export_notes(work->exports[JOB_LANGUAGE]);
    if (inline_text || !conversation)
        json_array_append_new(notes,
                              json_string("the file does not say which conversation template it was trained with: "
                                          "give llavamore-run [llm] template"));
    return add_tokenizer(work, work->exports[JOB_LANGUAGE], error);
}

/* ---- Tower and projector -------------------------------------------------------------------------------------------
 */

/* The layers that the projector takes, counted from the input on; readers join them in ascending order. */
static more_status find_layers(const core_assembly *source, json_t *list, int64_t *most, more_error *error)
{
    *most = 0;
    for (int32_t i = 0; i < source->layer_count; i++) {
        int64_t layer = source->layers[i];
        layer = layer < 0 ? source->vision_info.layers + 1 + layer : layer;
        if (layer <= *most)
            return more_fail(
                error, MORE_ERROR_UNSUPPORTED,
                "[vision] layer: an mmproj file names layers from 1 on and in ascending order, not %lld behind %lld",
                (long long)layer, (long long)*most);
        *most = layer;
        json_array_append_new(list, json_integer(layer));
    }
    return MORE_OK;
}

/* Mean and deviation of normalize() in the steps. */
static void find_normalize(const core_assembly *source, json_t *mean, json_t *deviation)
{
    static const char *const names[] = {"mean_red", "mean_green", "mean_blue", "std_red", "std_green", "std_blue"};
    core_calls calls = {0};
    core_calls_parse(source->functions, MORE_STAGE_PREPROCESS, source->steps, source->steps_source, &calls, NULL);
    for (size_t i = 0; i < calls.count; i++) {
        for (int k = 0; k < 6 && !strcmp(core_call_function(calls.items[i])->name, "normalize"); k++) {
            more_value value = {0};
            if (core_call_argument(calls.items[i], names[k], &value, NULL) == MORE_OK)
                json_array_append_new(k < 3 ? mean : deviation, json_real(value.as.f));
        }
    }
    core_calls_free(&calls);
}

static more_status tower_facts(job *work, int64_t *blocks, more_error *error)
{
    const core_assembly *source = work->source;
    const more_vision_info *info = &source->vision_info;
    json_t *layers = json_array(), *mean = json_array(), *deviation = json_array();
    more_status status = find_layers(source, layers, blocks, error);
    find_normalize(source, mean, deviation);
    work->facts[JOB_MMPROJ] =
        json_pack("{s:{s:I, s:I, s:I, s:I, s:o, s:o, s:o, s:s}}", "tower", "image_size", (json_int_t)info->image_size,
                  "patch_size", (json_int_t)info->patch_size, "width", (json_int_t)info->feature_width, "blocks",
                  (json_int_t)*blocks, "layers", layers, "mean", mean, "deviation", deviation, "aspect",
                  source->pads_square ? "pad" : "square");
    if (status != MORE_OK)
        return status;
    return work->facts[JOB_MMPROJ] ? MORE_OK : no_memory(error);
}

static more_status check_eyes(const core_assembly *source, const char *path, more_error *error)
{
    if (!source->vision)
        return more_fail(error, MORE_ERROR_NOT_FOUND, "--mmproj %s: the source has no vision tower; set vision.weights",
                         path);
    if (source->scale_count || source->select != MORE_SELECT_PATCH)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "--mmproj %s: %s, which mmproj files of the LLaVA kind cannot say", path,
                         source->scale_count ? "the tower is run at several scales" : "[vision] select = cls_patch");
    return MORE_OK;
}

/* The LLaVA kind of other programs is two layers with GELU between. */
static void note_projector(core_export *export, const more_checkpoint *projector)
{
    more_weight_info info = {.struct_size = sizeof info};
    more_checkpoint *own = (more_checkpoint *)projector;
    bool second = core_weights_service()->info(own, "layers.2.weight", &info, NULL) == MORE_OK;
    bool third = core_weights_service()->info(own, "layers.4.weight", &info, NULL) == MORE_OK;
    if (!second || third)
        json_array_append_new(core_export_notes(export),
                              json_string("other programs take projectors of two layers: only "
                                          "llavamore runs the file"));
}

static more_status plan_mmproj(job *work, more_error *error)
{
    const core_assembly *source = work->source;
    int64_t blocks = 0;
    more_status status = check_eyes(source, work->args->mmproj, error);
    if (status == MORE_OK)
        status = tower_facts(work, &blocks, error);
    if (status != MORE_OK)
        return status;
    core_export_request *wanted = request_for(work, JOB_MMPROJ);
    wanted->parts[0] = part_of(&source->vision_part);
    wanted->parts[0].layers = blocks;
    wanted->parts[1] = part_of(&source->projector_part);
    wanted->part_count = 2;
    status = core_export_create(wanted, &work->exports[JOB_MMPROJ], error);
    if (status == MORE_OK)
        note_projector(work->exports[JOB_MMPROJ], source->projector_part.checkpoint);
    return status;
}

more_status job_plan(job *work, more_error *error)
{
    work->rules = data_file("gguf-write.json");
    work->name = name_of(work->source);
    more_status status = work->rules && work->name ? plan_language(work, error) : no_memory(error);
    if (status == MORE_OK && work->args->mmproj)
        status = plan_mmproj(work, error);
    char *tower = core_assembly_setting(work->source, "vision.weights");
    if (status == MORE_OK && tower && !work->args->mmproj)
        json_array_append_new(core_export_notes(work->exports[JOB_LANGUAGE]),
                              json_string("the source has a vision tower: --mmproj FILE writes it and the projector"));
    free(tower);
    return status;
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

more_status job_write(job *work, more_error *error)
{
    more_status status = MORE_OK;
    for (int i = 0; i < JOB_FILES && status == MORE_OK; i++)
        status = work->exports[i] ? core_export_write(work->exports[i], error) : MORE_OK;
    if (status == MORE_OK)
        status = job_read_back(work, error);
    for (int i = 0; i < JOB_FILES && status == MORE_OK; i++)
        status = work->exports[i] ? core_gguf_writer_commit(core_export_writer(work->exports[i]), error) : MORE_OK;
    return status;
}

/* ---- The rest -------------------------------------------------------------------------------------------------------
 */

json_t *job_report(const job *work)
{
    json_t *files = json_array();
    for (int i = 0; i < JOB_FILES; i++)
        if (work->exports[i])
            json_array_append_new(files, core_export_report(work->exports[i]));
    return json_pack("{s:o, s:b, s:o}", "source", core_json_text(work->args->source), "written", !work->args->dry_run,
                     "files", files);
}

void job_clear(job *work)
{
    for (int i = 0; i < JOB_FILES; i++) {
        core_export_free(work->exports[i]);
        json_decref(work->facts[i]);
    }
    free(work->name);
    free(work->rules);
}
