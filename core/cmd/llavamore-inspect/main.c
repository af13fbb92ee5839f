/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-inspect: says what a file, a folder or a plugin is, and which INI file would run it.
 */
#include "../print.h"
#include "inspect.h"
#include "weights/checkpoint.h"

#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-inspect [--json] FILE|FOLDER|NAME...\n"
    "       llavamore-inspect --ini FILE|FOLDER|NAME >MY.ini\n"
    "       llavamore-inspect --preview PICTURE...\n"
    "       llavamore-inspect [--json] --keys\n"
    "       llavamore-inspect [--json] --devices\n"
    "\n"
    "Says what each thing is: a model folder, an adapter, a .safetensors or PyTorch file (tensors, layout,\n"
    "which plugin takes which part and why, and an INI file that runs it), a plugin (.so), a tokenizer,\n"
    "an .ini file, a picture. NAME is a plugin's id, a preset, or org/name in the Hugging Face cache.\n"
    "\n"
    "      --json     print JSON, one object a thing\n"
    "      --ini      print the INI file alone, for llavamore-run -c\n"
    "      --preview  show pictures in a terminal of 24-bit colour\n"
    "      --keys     print the sections and keys of an INI file\n"
    "      --devices  print the NVIDIA devices that models can run on, or why there is none\n"
    "  -h, --help     print this text\n"
    "      --version  print the version\n"
    "\n"
    "Exit codes are those of llavamore-run(1); of several things the first that failed counts.\n";

enum { OPTION_JSON = 256, OPTION_DEVICES, OPTION_INI, OPTION_KEYS, OPTION_PREVIEW, OPTION_VERSION };

static const struct option long_options[] = {
    {"json", no_argument, NULL, OPTION_JSON},       {"keys", no_argument, NULL, OPTION_KEYS},
    {"devices", no_argument, NULL, OPTION_DEVICES}, {"ini", no_argument, NULL, OPTION_INI},
    {"preview", no_argument, NULL, OPTION_PREVIEW}, {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION}, {NULL, 0, NULL, 0},
};

/* ---- Reports for people ----------------------------------------------------------------------------------------- */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static void print_tensors(FILE *file, const json_t *list)
{
    size_t i;
    const json_t *tensor;
    json_array_foreach(list, i, tensor)
    {
        char *shape = json_dumps(json_object_get(tensor, "shape"), 0);
        fprintf(file, "  %-60s %-6s %s\n", text_at(tensor, "name"), text_at(tensor, "format"), shape ? shape : "");
        free(shape);
    }
}

static void print_options(FILE *file, const json_t *list, int depth)
{
    size_t i;
    const json_t *option;
    json_array_foreach(list, i, option)
    {
        fprintf(file, "%*s%s (%s): %s\n", depth, "", text_at(option, "name"), text_at(option, "value"),
                text_at(option, "doc"));
    }
}

static void print_functions(FILE *file, const json_t *list)
{
    size_t i;
    const json_t *item;
    json_array_foreach(list, i, item)
    {
        fprintf(file, "  %s(%s) [%s]: %s\n", text_at(item, "name"), text_at(item, "parameters"), text_at(item, "stage"),
                text_at(item, "doc"));
    }
}

static void print_parts(FILE *file, const json_t *list)
{
    size_t i, k;
    const json_t *part, *plugin;
    json_array_foreach(list, i, part)
    {
        if (json_object_get(part, "missing"))
            fprintf(file, "  %s: %s\n", text_at(part, "part"), text_at(part, "missing"));
        else
            fprintf(file, "  %s: %lld tensors, %.1f MiB, in %s\n", text_at(part, "part"),
                    (long long)json_integer_value(json_object_get(part, "tensors")),
                    (double)json_integer_value(json_object_get(part, "bytes")) / (1 << 20), text_at(part, "weights"));
        json_array_foreach(json_object_get(part, "plugins"), k, plugin)
        {
            fprintf(file, "    %-13s score %3lld: %s\n", text_at(plugin, "plugin"),
                    (long long)json_integer_value(json_object_get(plugin, "score")), text_at(plugin, "reason"));
        }
    }
}

static void print_sections(FILE *file, const json_t *list)
{
    size_t i;
    const json_t *section;
    json_array_foreach(list, i, section)
    {
        fprintf(file, "[%s] %s\n", text_at(section, "section"), text_at(section, "doc"));
        print_options(file, json_object_get(section, "options"), 2);
    }
}

static void print_devices(FILE *file, const json_t *list)
{
    size_t i;
    const json_t *device;
    json_array_foreach(list, i, device)
    {
        if (json_object_get(device, "error"))
            fprintf(file, "  %s: %s\n", text_at(device, "device"), text_at(device, "error"));
        else
            fprintf(file, "  %s: %s, capability %s, %lld multiprocessors, %.1f GiB, %.1f GiB of them free\n",
                    text_at(device, "device"), text_at(device, "name"), text_at(device, "capability"),
                    (long long)json_integer_value(json_object_get(device, "processors")),
                    (double)json_integer_value(json_object_get(device, "total_bytes")) / (1 << 30),
                    (double)json_integer_value(json_object_get(device, "free_bytes")) / (1 << 30));
    }
}

/* The members that have a form of their own come last, under a heading; the rest is a tree. */
static void layout(FILE *file, const json_t *report)
{
    static const char *const special[] = {"parts", "options", "functions", "list", "ini", "sections", "devices"};
    json_t *rest = json_copy((json_t *)report);
    for (size_t i = 0; i < sizeof special / sizeof *special; i++)
        json_object_del(rest, special[i]);
    print_tree(file, rest, 0);
    json_decref(rest);
    if (json_object_get(report, "parts"))
        fputs("parts\n", file);
    print_parts(file, json_object_get(report, "parts"));
    if (json_array_size(json_object_get(report, "options")))
        fputs("options\n", file);
    print_options(file, json_object_get(report, "options"), 2);
    if (json_array_size(json_object_get(report, "functions")))
        fputs("functions\n", file);
    print_functions(file, json_object_get(report, "functions"));
    if (json_object_get(report, "list"))
        fputs("list of tensors\n", file);
    print_tensors(file, json_object_get(report, "list"));
    print_sections(file, json_object_get(report, "sections"));
    print_devices(file, json_object_get(report, "devices"));
    if (json_object_get(report, "ini"))
        fprintf(file, "\n%s", text_at(report, "ini"));
}

/* ---- The command line ------------------------------------------------------------------------------------------- */

/* How reports are printed. */
typedef enum report_form { FORM_TEXT, FORM_JSON, FORM_INI } report_form;

static more_status print_ini(output *out, const json_t *report, const char *path, more_error *error)
{
    const char *ini = text_at(report, "ini");
    if (!*ini)
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "%s: no INI file runs it: no plugin takes any part (llavamore-inspect %s says why)", path,
                         path);
    output_text(out, "; ");
    output_text(out, text_at(report, "what"));
    output_text(out, ": ");
    output_text(out, text_at(report, "path"));
    output_text(out, "\n");
    output_text(out, ini);
    return MORE_OK;
}

static int inspect_one(const core_host *host, core_registry *registry, const char *path, report_form form, output *out)
{
    more_error error = {{0}};
    json_t *report = NULL;
    more_status status = inspect_path(host, registry, path, &report, &error);
    if (status == MORE_OK && form == FORM_INI)
        status = print_ini(out, report, path, &error);
    else if (status == MORE_OK)
        status = print_report(out, report, form == FORM_JSON, layout, &error);
    json_decref(report);
    return status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
}

static int inspect_all(char **paths, int count, report_form form, output *out)
{
    more_error error = {{0}};
    core_host *host = NULL;
    core_registry *registry = NULL;
    core_host_config config = {.threads = 1, .log_level = MORE_LOG_ERROR, .weights = core_weights_service()};
    int code = EXIT_SUCCESS;
    more_status status = core_host_create(&config, &host, &error);
    if (status == MORE_OK)
        status = core_registry_create(NULL, &registry, &error);
    if (status != MORE_OK)
        code = fail_status(PROGRAM, status, &error);
    for (int i = 0; i < count && status == MORE_OK && !out->error; i++) {
        if (i && form != FORM_JSON)
            output_text(out, "\n");
        int one = inspect_one(host, registry, paths[i], form, out);
        if (code == EXIT_SUCCESS)
            code = one;
    }
    core_registry_destroy(registry);
    core_host_destroy(host);
    return code;
}

static int preview_all(char **paths, int count, output *out)
{
    more_error error = {{0}};
    for (int i = 0; i < count; i++) {
        more_status status = preview_image(paths[i], out, &error);
        if (status != MORE_OK)
            return fail_status(PROGRAM, status, &error);
    }
    return EXIT_SUCCESS;
}

static int show_keys(bool as_json, output *out)
{
    more_error error = {{0}};
    json_t *keys = inspect_keys();
    more_status status = print_report(out, keys, as_json, layout, &error);
    json_decref(keys);
    return status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
}

static int show_devices(bool as_json, output *out)
{
    more_error error = {{0}};
    core_host *host = NULL;
    json_t *devices = NULL;
    core_host_config config = {.threads = 1, .log_level = MORE_LOG_ERROR};
    more_status status = core_host_create(&config, &host, &error);
    if (status == MORE_OK)
        devices = inspect_devices(host);
    if (status == MORE_OK)
        status = print_report(out, devices, as_json, layout, &error);
    json_decref(devices);
    core_host_destroy(host);
    return status == MORE_OK ? EXIT_SUCCESS : fail_status(PROGRAM, status, &error);
}

/* What the options ask for. */
typedef struct wishes {
    bool json, ini, keys, devices, preview;
} wishes;

/* False when nothing is left to do: *code is what to leave with. */
static bool take_option(int option, wishes *wanted, output *out, int *code)
{
    switch (option) {
    case OPTION_JSON:
        wanted->json = true;
        return true;
    case OPTION_INI:
        wanted->ini = true;
        return true;
    case OPTION_KEYS:
        wanted->keys = true;
        return true;
    case OPTION_DEVICES:
        wanted->devices = true;
        return true;
    case OPTION_PREVIEW:
        wanted->preview = true;
        return true;
    case 'h':
        output_text(out, help_text);
        return false;
    case OPTION_VERSION:
        output_text(out, "llavamore " LLAVAMORE_VERSION "\n");
        return false;
    default:
        *code = EXIT_USAGE; /* getopt has printed its line */
        return false;
    }
}

static int run(int argc, char **argv, output *out)
{
    wishes wanted = {0};
    int code = EXIT_SUCCESS;
    for (int option; (option = getopt_long(argc, argv, "h", long_options, NULL)) != -1;)
        if (!take_option(option, &wanted, out, &code))
            return code;
    char **things = argv + optind;
    int count = argc - optind;
    if (wanted.keys && wanted.devices)
        return fail(PROGRAM, EXIT_USAGE, "--keys and --devices: one of them at a time");
    if ((wanted.keys || wanted.devices) && count)
        return fail(PROGRAM, EXIT_USAGE, "%s takes no file", wanted.keys ? "--keys" : "--devices");
    if (wanted.keys || wanted.devices)
        return wanted.keys ? show_keys(wanted.json, out) : show_devices(wanted.json, out);
    if (!count)
        return fail(PROGRAM, EXIT_USAGE, "what? Give a file, a folder, or a plugin's id");
    if (wanted.ini && (wanted.json || wanted.preview || count != 1))
        return fail(PROGRAM, EXIT_USAGE, "--ini takes one thing, and neither --json nor --preview");
    if (wanted.preview)
        return preview_all(things, count, out);
    return inspect_all(things, count, wanted.json ? FORM_JSON : wanted.ini ? FORM_INI : FORM_TEXT, out);
}

int main(int argc, char **argv)
{
    static char name[] = PROGRAM;
    output out = {0};
    signal(SIGPIPE, SIG_IGN);
    if (argc > 0)
        argv[0] = name; /* getopt's messages begin with it: the installed name, not libtool's */
    int code = run(argc, argv, &out);
    return output_finish(&out, PROGRAM, code);
}
