/* SPDX-License-Identifier: Apache-2.0 */
#include "arguments.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-quantize [OPTION]... SOURCE OUTPUT.gguf [--mmproj OUTPUT-mmproj.gguf]\n"
    "\n"
    "Writes a model to GGUF files, which other programs of that format run as well: the language model with its\n"
    "tokenizer and chat template, and with --mmproj its vision tower and projector.\n"
    "\n"
    "SOURCE is a model folder (Hugging Face, LLaVA-MORE, llava-hf), a GGUF file, org/name in the Hugging Face\n"
    "cache, an INI file or a preset.\n"
    "\n"
    "  -t, --type TYPE         of the language model's matrices: f32, f16, bf16, q8 (default), q4, q4_1\n"
    "      --mmproj FILE       also write vision tower and projector\n"
    "      --mmproj-type TYPE  of their matrices; default f16\n"
    "  -s, --set SEC.KEY=VALUE override one key of the INI file; may be repeated\n"
    "  -f, --force             replace files that are there\n"
    "  -n, --dry-run           say what would be written, and how large, and write nothing\n"
    "      --json              print the report as JSON\n"
    "  -h, --help              print this text\n"
    "      --version           print the version\n"
    "\n"
    "A file takes its name when it is whole: Ctrl-C or a full disk leaves what was there. Exit codes are those of\n"
    "llavamore-run(1). See llavamore-quantize(1).\n";

enum { OPTION_MMPROJ = 256, OPTION_MMPROJ_TYPE, OPTION_JSON, OPTION_VERSION };

static const struct option long_options[] = {
    {"type", required_argument, NULL, 't'},
    {"mmproj", required_argument, NULL, OPTION_MMPROJ},
    {"mmproj-type", required_argument, NULL, OPTION_MMPROJ_TYPE},
    {"set", required_argument, NULL, 's'},
    {"force", no_argument, NULL, 'f'},
    {"dry-run", no_argument, NULL, 'n'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

/* The format of a --type by its number in GGUF files; NULL after a message. */
static const core_gguf_format *parse_type(const char *option, const char *name, int *code)
{
    static const struct {
        const char *name;
        uint32_t number;
    } types[] = {{"f32", 0}, {"f16", 1}, {"bf16", 30}, {"q8", 8}, {"q4", 2}, {"q4_1", 3}};
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (!strcmp(types[i].name, name))
            return core_gguf_format_numbered(types[i].number);
    *code = fail(PROGRAM, EXIT_USAGE, "%s %s: f32, f16, bf16, q8, q4 and q4_1 are written", option, name);
    return NULL;
}

static bool take_option(arguments *args, int option, int *code)
{
    switch (option) {
    case 't':
        args->type = parse_type("--type", optarg, code);
        return args->type != NULL;
    case OPTION_MMPROJ:
        return take_once(PROGRAM, &args->mmproj, optarg, "--mmproj", code);
    case OPTION_MMPROJ_TYPE:
        args->mmproj_type = parse_type("--mmproj-type", optarg, code);
        return args->mmproj_type != NULL;
    case 's':
        args->assignments[args->assignment_count++] = optarg;
        return true;
    case 'f':
        args->force = true;
        return true;
    case 'n':
        args->dry_run = true;
        return true;
    case OPTION_JSON:
        args->json = true;
        return true;
    case 'h':
        return print_and_leave(PROGRAM, help_text, code);
    case OPTION_VERSION:
        return print_and_leave(PROGRAM, "llavamore " LLAVAMORE_VERSION "\n", code);
    default:
        *code = EXIT_USAGE; /* getopt has printed its line */
        return false;
    }
}

bool arguments_parse(int argc, char **argv, arguments *args, int *code)
{
    static char name[] = PROGRAM;
    *args = (arguments){.type = core_gguf_format_numbered(8)};
    *code = EXIT_SUCCESS;
    args->assignments = calloc((size_t)argc + 1, sizeof *args->assignments);
    if (!args->assignments) {
        *code = fail(PROGRAM, EXIT_MEMORY, "out of memory for %d arguments", argc);
        return false;
    }
    if (argc > 0)
        argv[0] = name; /* getopt's messages begin with it: the installed name, not libtool's */
    for (int option; (option = getopt_long(argc, argv, "t:s:fnh", long_options, NULL)) != -1;) {
        if (!take_option(args, option, code))
            return false;
    }
    if (argc - optind != 2)
        *code = fail(PROGRAM, EXIT_USAGE, "%s: give SOURCE and OUTPUT.gguf (see --help)",
                     argc == optind       ? "no source and no output"
                     : argc - optind == 1 ? "no output"
                                          : "too many arguments");
    else if (args->mmproj_type && !args->mmproj)
        *code = fail(PROGRAM, EXIT_USAGE, "--mmproj-type needs --mmproj FILE");
    if (*code != EXIT_SUCCESS)
        return false;
    if (!args->mmproj_type)
        args->mmproj_type = core_gguf_format_numbered(1);
    args->source = argv[optind];
    args->output = argv[optind + 1];
    return true;
}

void arguments_clear(arguments *args)
{
    free(args->assignments);
    *args = (arguments){0};
}
