/* SPDX-License-Identifier: Apache-2.0 */
#include "parity.h"

#include "base/host.h"
#include "weights/checkpoint.h"

#include <dirent.h>
#include <dlfcn.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MOST_ABSOLUTE 1e-4
#define MOST_ROW 1e-5
#define MAX_OPTIONS 16

/* ---- Host and plugins ------------------------------------------------------------------------------------------- */

static core_host *the_host;

const more_host *parity_host(int32_t threads)
{
    core_host_config config = {.threads = threads, .log_level = MORE_LOG_WARNING, .weights = core_weights_service()};
    more_error error = {""};

    parity_host_close();
    if (core_host_create(&config, &the_host, &error))
        fail_msg("host: %s", error.message);
    return core_host_abi(the_host);
}

void parity_host_close(void)
{
    core_host_destroy(the_host);
    the_host = NULL;
}

/* Where plugins are opened: the CPU, or the CUDA device whose number LLAVAMORE_TEST_CUDA is (tests/cuda/parity). */
static DLDevice the_device(void)
{
    const char *number = getenv("LLAVAMORE_TEST_CUDA");
    return number ? (DLDevice){kDLCUDA, atoi(number)} : (DLDevice){kDLCPU, 0};
}

size_t parity_host_bytes(void)
{
    return core_host_current_bytes(the_host);
}

void parity_host_cancel(bool cancelled)
{
    core_host_cancel(the_host, cancelled);
}

const char *parity_plugin_path(const char *name)
{
    static char path[4096];
    const char *build = getenv("builddir"), *base = strrchr(name, '/') + 1;
    const char *folder = the_device().device_type == kDLCPU ? "plugins" : getenv("LLAVAMORE_TEST_PLUGINS");

    snprintf(path, sizeof path, "%s/%s/%s/.libs/%s.so", build ? build : ".", folder ? folder : "plugins", name, base);
    return path;
}

const more_plugin *parity_plugin(const char *name)
{
    void *handle = dlopen(parity_plugin_path(name), RTLD_NOW | RTLD_LOCAL);
    more_plugin_entry_function entry;
    const more_plugin *plugin;
    more_error error = {""};
    void *symbol;

    if (!handle)
        fail_msg("%s", dlerror());
    symbol = dlsym(handle, MORE_PLUGIN_ENTRY);
    assert_non_null(symbol);
    memcpy(&entry, &symbol, sizeof entry);
    plugin = entry(MORE_ABI_VERSION, MORE_ABI_VERSION, &error);
    if (!plugin)
        fail_msg("%s: %s", name, error.message);
    return plugin;
}

/* ---- Files ------------------------------------------------------------------------------------------------------ */

const char *parity_path(const char *relative)
{
    static char path[4096];
    const char *source = getenv("srcdir");

    snprintf(path, sizeof path, "%s/tests/parity/data/%s", source ? source : ".", relative);
    return path;
}

json_t *parity_json(const char *relative)
{
    json_error_t error;
    json_t *json = json_load_file(parity_path(relative), 0, &error);
    if (!json)
        fail_msg("%s: %s", parity_path(relative), error.text);
    return json;
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

parity_cases parity_cases_of(const char *kind)
{
    parity_cases cases = {0};
    struct dirent **entries;
    int count = scandir(parity_path("models"), &entries, is_visible, alphasort);

    size_t most = count < 0 ? 0 : (size_t)count;

    if (count < 0)
        fail_msg("%s cannot be listed", parity_path("models"));
    cases.names = calloc(most, sizeof *cases.names);
    cases.facts = calloc(most, sizeof *cases.facts);
    assert_true(cases.names && cases.facts);
    for (size_t i = 0; i < most; i++) {
        char relative[512];
        snprintf(relative, sizeof relative, "models/%s/case.json", entries[i]->d_name);
        json_t *facts = parity_json(relative);
        if (!strcmp(json_string_value(json_object_get(facts, "kind")), kind)) {
            cases.names[cases.count] = strdup(entries[i]->d_name);
            cases.facts[cases.count++] = json_incref(facts);
        }
        json_decref(facts);
        free(entries[i]);
    }
    free(entries);
    return cases;
}

void parity_cases_free(parity_cases *cases)
{
    for (size_t i = 0; i < cases->count; i++) {
        free(cases->names[i]);
        json_decref(cases->facts[i]);
    }
    free(cases->names);
    free(cases->facts);
    *cases = (parity_cases){0};
}

parity_checkpoint parity_checkpoint_open(const char *folder, const char *prefix, const more_tensor_map *map)
{
    parity_checkpoint checkpoint = {NULL, NULL};
    core_view view = {.prefixes = &prefix, .prefix_count = prefix ? 1 : 0, .map = map};
    more_error error = {""};

    if (core_checkpoint_open(folder, &checkpoint.files, &error) ||
        core_checkpoint_view(checkpoint.files, &view, &checkpoint.view, &error))
        fail_msg("%s: %s", folder, error.message);
    return checkpoint;
}

void parity_checkpoint_close(parity_checkpoint *checkpoint)
{
    core_checkpoint_release(checkpoint->view);
    core_checkpoint_release(checkpoint->files);
}

static more_value parse(const more_option *option, const char *text)
{
    more_value value = {.type = option->type};
    if (option->type == MORE_STRING)
        value.as.s = text;
    else if (option->type == MORE_DOUBLE)
        value.as.f = strtod(text, NULL);
    else
        value.as.i = strtoll(text, NULL, 10);
    return value;
}

static more_value option_values[MAX_OPTIONS]; /* of the last arguments */

void parity_set_option(const more_plugin *plugin, const char *option, const char *value)
{
    bool found = false;
    for (int32_t i = 0; i < plugin->option_count; i++)
        if (!strcmp(plugin->options[i].name, option)) {
            option_values[i] = parse(&plugin->options[i], value);
            found = true;
        }
    if (!found)
        fail_msg("the plugin %s has no option %s", plugin->id, option);
}

const more_open *parity_arguments(const more_plugin *plugin, const more_host *host, more_checkpoint *checkpoint,
                                  more_open_flags flags, const char *option, const char *value)
{
    static DLDevice device;
    static more_open arguments;

    assert_true(plugin->option_count <= MAX_OPTIONS);
    for (int32_t i = 0; i < plugin->option_count; i++) {
        const more_option *row = &plugin->options[i];
        option_values[i] = parse(row, row->default_value);
    }
    device = the_device();
    if (device.device_type != kDLCPU && plugin->option_count > 0)
        parity_set_option(plugin, "arithmetic", "exact"); /* by default activations are rounded there */
    if (option)
        parity_set_option(plugin, option, value);
    arguments = (more_open){.struct_size = MORE_STRUCT_SIZE(more_open, layer_count),
                            .host = host,
                            .checkpoint = checkpoint,
                            .options = option_values,
                            .option_count = plugin->option_count,
                            .flags = flags,
                            .devices = &device,
                            .device_count = 1};
    return &arguments;
}

/* ---- Reference arrays ------------------------------------------------------------------------------------------- */

static more_weight_info find(more_checkpoint *file, const char *name, int64_t *elements)
{
    more_weight_info info = {.struct_size = MORE_STRUCT_SIZE(more_weight_info, bytes)};
    more_error error = {""};

    if (core_weights_service()->info(file, name, &info, &error))
        fail_msg("%s", error.message);
    *elements = 1;
    for (int32_t i = 0; i < info.rank; i++)
        *elements *= info.shape[i];
    return info;
}

float *parity_floats(more_checkpoint *file, const char *name, int64_t shape[MORE_MAX_RANK])
{
    int64_t elements;
    more_weight_info info = find(file, name, &elements);
    float *values = malloc((size_t)elements * sizeof *values);

    assert_non_null(values);
    assert_string_equal(info.format, "f32");
    memcpy(values, info.data, (size_t)elements * sizeof *values);
    for (int32_t i = 0; shape && i < MORE_MAX_RANK; i++)
        shape[i] = i < info.rank ? info.shape[i] : 1;
    return values;
}

int32_t *parity_ids(more_checkpoint *file, const char *name, int64_t *count)
{
    more_weight_info info = find(file, name, count);
    int32_t *ids = malloc((size_t)*count * sizeof *ids);

    assert_non_null(ids);
    assert_string_equal(info.format, "i32");
    memcpy(ids, info.data, (size_t)*count * sizeof *ids);
    return ids;
}

/* ---- Tensors ---------------------------------------------------------------------------------------------------- */

parity_tensor *parity_tensor_create(int rank, int64_t a, int64_t b, int64_t c)
{
    parity_tensor *tensor = calloc(1, sizeof *tensor);
    int64_t shape[3] = {a, b, c}, count = 1;

    assert_non_null(tensor);
    for (int i = 0; i < rank; i++) {
        tensor->shape[i] = shape[i];
        count *= shape[i];
    }
    tensor->data = aligned_alloc(MORE_ALIGNMENT, ((size_t)count * sizeof(float) / MORE_ALIGNMENT + 1) * MORE_ALIGNMENT);
    assert_non_null(tensor->data);
    for (int64_t i = 0; i < count; i++)
        tensor->data[i] = NAN;
    tensor->view = more_host_tensor(tensor->data, more_f32(), rank, tensor->shape, tensor->strides);
    return tensor;
}

void parity_tensor_free(parity_tensor *tensor)
{
    if (tensor)
        free(tensor->data);
    free(tensor);
}

/* ---- Comparing -------------------------------------------------------------------------------------------------- */

void parity_same(const float *got, const float *wanted, int64_t rows, int64_t width)
{
    parity_error worst = {0};
    if (the_device().device_type == kDLCPU)
        assert_memory_equal(got, wanted, (size_t)(rows * width) * sizeof *got);
    else
        parity_compare("another way", got, wanted, rows, width, &worst);
}

void parity_measure(const float *got, const float *wanted, int64_t rows, int64_t width, parity_error *worst)
{
    double largest = 0, difference = 0;

    for (int64_t r = 0; r < rows; r++) {
        double square = 0, size = 0;
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            double delta = (double)got[i] - (double)wanted[i];
            square += delta * delta;
            size += (double)wanted[i] * (double)wanted[i];
            largest = fmax(largest, fabs((double)wanted[i]));
            /* Written so that a NaN counts as infinitely wrong. */
            difference = fabs(delta) <= difference ? difference : isnan(delta) ? INFINITY : fabs(delta);
        }
        square = sqrt(square / fmax(size, 1e-30));
        worst->row = square <= worst->row ? worst->row : isnan(square) ? INFINITY : square;
    }
    worst->absolute = fmax(worst->absolute, difference / fmax(largest, 1e-30));
}

void parity_compare(const char *what, const float *got, const float *wanted, int64_t rows, int64_t width,
                    parity_error *worst)
{
    parity_error own = {0, 0};

    parity_measure(got, wanted, rows, width, &own);
    if (own.absolute > MOST_ABSOLUTE || own.row > MOST_ROW)
        fail_msg("%s: off by %.2g of the largest magnitude, %.2g relative RMS in the worst row", what, own.absolute,
                 own.row);
    worst->absolute = fmax(worst->absolute, own.absolute);
    worst->row = fmax(worst->row, own.row);
}

int32_t parity_argmax(const float *values, int64_t count)
{
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++)
        if (values[i] > values[best])
            best = i;
    return best;
}
