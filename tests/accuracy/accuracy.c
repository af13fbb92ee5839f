/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers a folder of held-out questions through libllavamore and prints, as a cell of a table, the share that match
 * exactly with its 95% Wilson interval, then the share where a grey picture stands for every one: a model that looks
 * must fall. With --answers it writes each answer as a line of JSON instead of asking about the grey picture, so that
 * two runs can be compared.
 *
 *     accuracy [--set SECTION.KEY=VALUE]... [--answers FILE] PRESET FOLDER
 *
 * FOLDER/questions.jsonl: one {"image", "question", "answer"} a line; images relative to FOLDER.
 */
#include <getopt.h>
#include <jansson.h>
#include <llavamore.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GREY_SIDE 224 /* pixels */

typedef struct tally {
    int64_t right, asked;
    FILE *answers; /* where they go; NULL = nowhere */
} tally;

static int fail(const char *what, const more_error *error)
{
    fprintf(stderr, "accuracy: %s: %s\n", what, error->message);
    return 1;
}

/* Strips white space at both ends, as a reader of the answer would. */
static void trim(const char *text, const char **begin, size_t *size)
{
    const char *end = text + strlen(text);
    while (*text == ' ' || *text == '\n')
        text++;
    while (end > text && (end[-1] == ' ' || end[-1] == '\n'))
        end--;
    *begin = text;
    *size = (size_t)(end - text);
}

static bool matches(const char *answer, const char *wanted)
{
    const char *a, *b;
    size_t m, n;
    trim(answer, &a, &m);
    trim(wanted, &b, &n);
    return m == n && memcmp(a, b, m) == 0;
}

/* Nothing is told of a run whose answers were lost. */
static int write_answer(const char *answer, FILE *file)
{
    json_t *text = json_string(answer);
    int failed = !text || json_dumpf(text, file, JSON_ENCODE_ANY) || fputc('\n', file) < 0 || fflush(file);
    json_decref(text);
    if (failed)
        fprintf(stderr, "accuracy: an answer could not be written\n");
    return failed;
}

static int ask(llavamore_model *model, const char *folder, json_t *row, const llavamore_image *blank, tally *result)
{
    more_error error = {{0}};
    llavamore_chat *chat = NULL;
    llavamore_answer answer = {0};
    const char *name = json_string_value(json_object_get(row, "image"));
    const char *question = json_string_value(json_object_get(row, "question"));
    const char *wanted = json_string_value(json_object_get(row, "answer"));
    char path[4096];
    if (!name || !question || !wanted)
        return fprintf(stderr, "accuracy: a row lacks image, question or answer\n"), 1;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    llavamore_image image = {.path = path};
    llavamore_question asked = {.text = question, .images = blank ? blank : &image, .image_count = 1};
    if (llavamore_chat_create(model, &chat, &error) != MORE_OK ||
        llavamore_chat_ask(chat, &asked, &answer, &error) != MORE_OK) {
        llavamore_chat_destroy(chat);
        return fail(path, &error);
    }
    result->asked++;
    result->right += matches(answer.text, wanted);
    int failed = result->answers && write_answer(answer.text, result->answers);
    llavamore_answer_clear(&answer);
    llavamore_chat_destroy(chat);
    return failed;
}

/* "98.6% (97.6 to 99.2)": the share and its Wilson score interval at 95%. */
static void print_share(const tally *result)
{
    double n = (double)result->asked, p = (double)result->right / n, z = 1.959964;
    double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n);
    printf("%.1f%% (%.1f to %.1f)", 100 * p, 100 * (middle - half), 100 * (middle + half));
}

static int run(llavamore_model *model, const char *folder, const llavamore_image *blank, FILE *answers)
{
    char path[4096], line[65536];
    tally seen = {.answers = answers}, unseen = {0};
    int failed = 0;
    snprintf(path, sizeof path, "%s/questions.jsonl", folder);
    FILE *file = fopen(path, "r");
    if (!file)
        return perror(path), 1;
    while (!failed && fgets(line, sizeof line, file)) {
        json_t *row = json_loads(line, 0, NULL);
        failed = ask(model, folder, row, NULL, &seen) || (!answers && ask(model, folder, row, blank, &unseen));
        json_decref(row);
    }
    fclose(file);
    if (failed || !seen.asked)
        return 1;
    print_share(&seen);
    if (!answers)
        printf(", blank %.1f%%", 100 * (double)unseen.right / (double)unseen.asked);
    printf("\n");
    return 0;
}

int main(int count, char **arguments)
{
    static const struct option options[] = {
        {"set", required_argument, NULL, 's'}, {"answers", required_argument, NULL, 'a'}, {NULL, 0, NULL, 0}};
    more_error error = {{0}};
    llavamore_model *model = NULL;
    FILE *answers = NULL;
    llavamore_settings *settings = llavamore_settings_create(NULL);
    int failed = settings == NULL;
    for (int option; !failed && (option = getopt_long(count, arguments, "", options, NULL)) != -1;) {
        if (option == 's')
            failed = llavamore_settings_set(settings, optarg, &error) != MORE_OK && fail(optarg, &error);
        else
            failed = option != 'a' || !(answers = fopen(optarg, "w"));
    }
    if (failed || count - optind != 2)
        return fprintf(stderr, "usage: accuracy [--set SECTION.KEY=VALUE]... [--answers FILE] PRESET FOLDER\n"), 2;
    static char grey[64 + GREY_SIDE * GREY_SIDE];
    int header = snprintf(grey, 64, "P5\n%d %d\n255\n", GREY_SIDE, GREY_SIDE);
    memset(grey + header, 200, (size_t)GREY_SIDE * GREY_SIDE);
    llavamore_image blank = {.bytes = grey, .size = (size_t)header + GREY_SIDE * GREY_SIDE, .name = "grey"};
    const char *preset = arguments[optind];
    failed = 1;
    if (llavamore_settings_load(settings, preset, &error) != MORE_OK ||
        llavamore_model_open(settings, LLAVAMORE_OPEN_DEFAULT, &model, &error) != MORE_OK)
        fail(preset, &error);
    else
        failed = run(model, arguments[optind + 1], &blank, answers);
    llavamore_model_close(model);
    llavamore_settings_destroy(settings);
    if (answers && fclose(answers))
        failed = 1;
    return failed;
}
