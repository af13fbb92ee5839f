/* SPDX-License-Identifier: Apache-2.0
 *
 * llavamore-bench: how much of what this machine has the kernels use.
 */
#include "bench.h"

#include "base/host.h"

#include <getopt.h>
#include <signal.h>
#include <string.h>

static const char help_text[] =
    "Usage: llavamore-bench [OPTION]... gemm|decode\n"
    "\n"
    "gemm    Matrix products of the models' shapes, many rows at a time: GFLOP/s and the share of the\n"
    "        multiply-add peak that the registers alone reach, measured in the same round.\n"
    "decode  One token at a time through layers of an 8B model's shapes (width 4096, 32/8 heads): GB/s of weights read "
    "and the\n"
    "        share of the best rate at which memory was read in the same round.\n"
    "\n"
    "Both need some 3 GiB of memory and an otherwise idle machine. LLAVAMORE_CPU=baseline|avx2|avx512\n"
    "chooses the kernels.\n"
    "\n"
    "  -t, --threads N     threads (default: all cores)\n"
    "  -r, --rounds N      rounds of which the median is taken, odd (default: 7)\n"
    "  -w, --weights TYPE  stored type of the weights: f32, f16 or bf16 (default: gemm f32, decode f16)\n"
    "      --json          print JSON\n"
    "  -h, --help          print this text\n"
    "      --version       print the version\n";

enum { OPTION_JSON = 256, OPTION_VERSION };

static const struct option long_options[] = {
    {"threads", required_argument, NULL, 't'},
    {"rounds", required_argument, NULL, 'r'},
    {"weights", required_argument, NULL, 'w'},
    {"json", no_argument, NULL, OPTION_JSON},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, OPTION_VERSION},
    {NULL, 0, NULL, 0},
};

static bool parse_number(const char *text, int64_t least, int64_t most, int64_t *value)
{
    char *end;
    long long number = strtoll(text, &end, 10);
    *value = number;
    return *text && !*end && number >= least && number <= most;
}

static bool parse_weights(const char *name, bench_options *options)
{
    options->weights_name = name;
    if (!strcmp(name, "f32"))
        options->weights = more_f32();
    else if (!strcmp(name, "f16"))
        options->weights = more_f16();
    else if (!strcmp(name, "bf16"))
        options->weights = more_bf16();
    else
        return false;
    return true;
}

typedef more_status (*bench_function)(bench *b, more_error *error);

static more_status measure(bench *b, const char *what, bench_function function, more_error *error)
{
    const bench_options *options = b->options;
    char line[128];
    snprintf(line, sizeof line, "%s kernels, %s weights, %lld rounds\n", nn_context_kernels(b->nn),
             options->weights_name, (long long)options->rounds);
    bench_note(b, line);
    b->rows = json_array();
    more_status status = function(b, error);
    if (status || !options->as_json) {
        json_decref(b->rows);
        return status;
    }
    json_t *report =
        json_pack("{s:s, s:s, s:s, s:I, s:o}", "benchmark", what, "kernels", nn_context_kernels(b->nn), "weights",
                  options->weights_name, "rounds", (json_int_t)options->rounds, "rows", b->rows);
    status = print_json(b->out, report, error);
    json_decref(report);
    return status;
}

static int run_benchmark(const bench_options *options, const char *what, bench_function function, output *out)
{
    more_error error = {{0}};
    core_host *host = NULL;
    core_host_config config = {.threads = (int32_t)options->threads, .log_level = MORE_LOG_WARNING};
    bench b = {.options = options, .out = out};
    more_status status = core_host_create(&config, &host, &error);
    if (!status)
        status = nn_context_create(core_host_abi(host), &b.nn, &error);
    if (!status)
        status = measure(&b, what, function, &error);
    nn_context_destroy(b.nn);
    core_host_destroy(host);
    return status ? fail_status(PROGRAM, status, &error) : EXIT_SUCCESS;
}

static int run(int argc, char **argv, output *out)
{
    bench_options options = {.rounds = 7};
    for (int option; (option = getopt_long(argc, argv, "t:r:w:h", long_options, NULL)) != -1;) {
        switch (option) {
        case 't':
            if (!parse_number(optarg, 0, 1024, &options.threads))
                return fail(PROGRAM, EXIT_USAGE, "--threads is '%s'; give a number from 0 to 1024", optarg);
            break;
        case 'r':
            if (!parse_number(optarg, 1, MOST_ROUNDS, &options.rounds) || options.rounds % 2 == 0)
                return fail(PROGRAM, EXIT_USAGE, "--rounds is '%s'; give an odd number from 1 to %d", optarg,
                            MOST_ROUNDS);
            break;
        case 'w':
            if (!parse_weights(optarg, &options))
                return fail(PROGRAM, EXIT_USAGE, "--weights is '%s'; give f32, f16 or bf16", optarg);
            break;
        case OPTION_JSON:
            options.as_json = true;
            break;
        case 'h':
            output_text(out, help_text);
            return EXIT_SUCCESS;
        case OPTION_VERSION:
            output_text(out, "llavamore " LLAVAMORE_VERSION "\n");
            return EXIT_SUCCESS;
        default:
            return EXIT_USAGE; /* getopt has printed its line */
        }
    }
    const char *what = optind + 1 == argc ? argv[optind] : "";
    bool gemm = !strcmp(what, "gemm");
    if (!gemm && strcmp(what, "decode"))
        return fail(PROGRAM, EXIT_USAGE, "what? Give one of gemm and decode");
    if (!options.weights_name)
        parse_weights(gemm ? "f32" : "f16", &options);
    return run_benchmark(&options, what, gemm ? bench_gemm : bench_decode, out);
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
