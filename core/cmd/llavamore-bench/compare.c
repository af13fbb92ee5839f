/* SPDX-License-Identifier: Apache-2.0
 *
 * --compare: this run beside an earlier one.
 */
#include "bench.h"

#include "base/json.h"
#include <math.h>
#include <string.h>

static bool is_number(const json_t *row, const char *key, bool positive)
{
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) && (!positive || json_number_value(value) > 0.0);
}

/* What compare_row reads of the rows. */
static more_status check_rows(const char *path, const json_t *report, more_error *error)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        if (!name || !json_is_string(json_object_get(row, "unit")))
            return more_fail(error, MORE_ERROR_CORRUPT, "%s: row %zu has no 'name' or no 'unit'", path, i);
        if (!is_number(row, "median", true) || !is_number(row, "least", false) || !is_number(row, "most", false))
            return more_fail(error, MORE_ERROR_CORRUPT,
                             "%s: row '%s' needs a 'median' above 0, a 'least' and a 'most', all numbers", path, name);
    }
    return MORE_OK;
}

more_status bench_compare_load(const char *path, json_t **before, more_error *error)
{
    *before = NULL;
    more_status status = core_json_load(path, before, error);
    if (status != MORE_OK)
        return status;
    if (json_is_array(json_object_get(*before, "rows")) && json_is_object(json_object_get(*before, "machine")))
        status = check_rows(path, *before, error);
    else
        status = more_fail(error, MORE_ERROR_CORRUPT,
                           "%s: no report of " PROGRAM " --json: it has no 'rows' or no 'machine'", path);
    if (status == MORE_OK)
        return MORE_OK;
    json_decref(*before);
    *before = NULL;
    return status;
}

static const json_t *find_row(const json_t *report, const char *name, const char *unit)
{
    size_t i;
    const json_t *row;
    json_array_foreach(json_object_get(report, "rows"), i, row)
    {
        const char *its_name = json_string_value(json_object_get(row, "name"));
        const char *its_unit = json_string_value(json_object_get(row, "unit"));
        if (its_name && its_unit && !strcmp(its_name, name) && !strcmp(its_unit, unit))
            return row;
    }
    return NULL;
}

static double number(const json_t *row, const char *key)
{
    return json_number_value(json_object_get(row, key));
}

/* Outside both spreads: no sample of one run lies between the samples of the other. A change that is no finite number
 * (of a median near 0) is null. */
static json_t *compare_row(const json_t *before, const json_t *after)
{
    double old = number(before, "median"), new = number(after, "median");
    double change = 100.0 * (new / old - 1.0);
    bool apart = number(after, "least") > number(before, "most") || number(after, "most") < number(before, "least");
    const char *better = json_string_value(json_object_get(after, "better"));
    bool less = better && !strcmp(better, "less");
    const char *verdict = !apart ? "within the spread" : (new > old) != less ? "better" : "worse";
    return json_pack("{s:O, s:O, s:f, s:f, s:o, s:s}", "name", json_object_get(after, "name"), "unit",
                     json_object_get(after, "unit"), "before", old, "after", new, "change_percent",
                     isfinite(change) ? json_real(change) : json_null(), "verdict", verdict);
}

/* Adds those of the keys whose values differ, of both where both have them. */
static void differences_of(const json_t *before, const json_t *after, const char *const *keys, size_t count,
                           json_t *list)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *a = json_object_get(before, keys[i]), *b = json_object_get(after, keys[i]);
        if (a && b && !json_equal(a, b))
            json_array_append_new(list, json_string(keys[i]));
    }
}

/* What the two runs do not have in common: of the machines, and of what was measured. */
static json_t *differences(const json_t *before, const json_t *report)
{
    static const char *const keys[] = {"cpu", "cores", "threads", "kernels", "memory_bytes"};
    static const char *const own[] = {"benchmark", "model", "weights", "arithmetic", "device"};
    json_t *list = json_array();
    if (list)
        differences_of(json_object_get(before, "machine"), json_object_get(report, "machine"), keys,
                       sizeof keys / sizeof *keys, list);
    if (list)
        differences_of(before, report, own, sizeof own / sizeof *own, list);
    return list;
}

more_status bench_compare(const json_t *before, const char *path, json_t *report, more_error *error)
{
    size_t i;
    const json_t *row;
    json_t *rows = json_array();
    json_array_foreach(json_object_get(report, "rows"), i, row)
    {
        const char *name = json_string_value(json_object_get(row, "name"));
        const char *unit = json_string_value(json_object_get(row, "unit"));
        const json_t *old = name && unit ? find_row(before, name, unit) : NULL;
        if (old && json_array_append_new(rows, compare_row(old, row))) {
            json_decref(rows);
            return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the comparison");
        }
    }
    json_t *json = json_pack("{s:o, s:o, s:o}", "file", core_json_text(path), "differs", differences(before, report),
                             "rows", rows);
    if (!json || json_object_set_new(report, "compare", json))
        return more_fail(error, MORE_ERROR_MEMORY, "out of memory for the comparison");
    return MORE_OK;
}

void bench_compare_layout(FILE *file, const json_t *report)
{
    size_t i;
    const json_t *row, *compare = json_object_get(report, "compare");
    fprintf(file, "\ncompared with %s\n", json_string_value(json_object_get(compare, "file")));
    json_array_foreach(json_object_get(compare, "differs"), i, row)
    {
        fprintf(file, "  (the other run's %s is not this one's)\n", json_string_value(row));
    }
    json_array_foreach(json_object_get(compare, "rows"), i, row)
    {
        char change[32] = "      ?";
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        if (json_is_number(json_object_get(row, "change_percent")))
            snprintf(change, sizeof change, "%+7.1f", number(row, "change_percent"));
        fprintf(file, "%s %-38s %10.3f -> %10.3f %-8s %s %%  %s\n", strncmp(verdict, "within", 6) ? "*" : " ",
                json_string_value(json_object_get(row, "name")), number(row, "before"), number(row, "after"),
                json_string_value(json_object_get(row, "unit")), change, verdict);
    }
}
