/* SPDX-License-Identifier: Apache-2.0
 *
 * [runtime] device: what it may say, and where a part is opened then.
 */
#include "drivers.h"

#include "assembly/backbone.h"
#include "device/choice.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MIB (1ULL << 20)

/* ---- The value -------------------------------------------------------------------------------------------------- */

static void expect_choice(const device_host *self, const char *text, const char *device, bool automatic)
{
    core_device_choice choice;
    more_error error = {{0}};
    char shown[24];
    if (core_device_choose(self->abi, text, &choice, &error) != MORE_OK)
        fail_msg("%s: %s", text, error.message);
    assert_string_equal(core_device_text(choice.device, shown), device);
    assert_int_equal(choice.automatic, automatic);
}

static void expect_refusal(const device_host *self, const char *text, more_status status, const char *part)
{
    core_device_choice choice;
    more_error error = {{0}};
    assert_int_equal(core_device_choose(self->abi, text, &choice, &error), status);
    if (!strstr(error.message, part))
        fail_msg("%s: '%s' is not in: %s", text, part, error.message);
}

static void values_are_understood(void **state)
{
    (void)state;
    device_host self;
    device_host_open_late(&self, 2, 64 * MIB);
    expect_choice(&self, "auto", "cuda:0", true);
    expect_choice(&self, "cpu", "cpu", false);
    expect_choice(&self, "cuda", "cuda:0", false);
    expect_choice(&self, "cuda:0", "cuda:0", false);
    expect_choice(&self, "cuda:1", "cuda:1", false);
    expect_refusal(&self, "cuda:2", MORE_ERROR_NOT_FOUND,
                   "there is no cuda:2: this machine has 2 CUDA devices: cuda:0 (Late One), cuda:1 (Late Two)");
    static const char *const wrong[] = {
        "", "gpu", "CUDA", "cuda:", "cuda:x", "cuda:-1", "cuda:0 ", "cuda:1x", "cuda:99999999999", "cuda0", "cpu:0"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        expect_refusal(&self, wrong[i], MORE_ERROR_ARGUMENT,
                       "want auto, cpu, cuda (the first NVIDIA device) or cuda:N");
    device_host_close(&self);
}

static void without_a_driver_auto_is_the_cpu(void **state)
{
    (void)state;
    device_host self;
    device_host_open(&self, NO_DRIVER);
    expect_choice(&self, "cpu", "cpu", false);
    assert_string_equal(self.log, "");
    expect_choice(&self, "auto", "cpu", true);
    assert_non_null(strstr(self.log, "3 cuda: device = auto is the CPU: no NVIDIA driver: " NO_DRIVER));
    expect_refusal(&self, "cuda", MORE_ERROR_NOT_FOUND, "there is no cuda:0: no NVIDIA driver: " NO_DRIVER);
    expect_refusal(&self, "cuda:1", MORE_ERROR_NOT_FOUND, "auto and cpu run without");
    device_host_close(&self);
}

/* ---- Opening ---------------------------------------------------------------------------------------------------- */

/* A plugin that answers so on a device; on the CPU it opens. */
typedef struct plugin {
    more_status on_device;
    int opened;
    DLDevice last;
} plugin;

static more_status open_plugin(void *user, const more_open *arguments, more_error *error)
{
    plugin *self = user;
    assert_int_equal(arguments->device_count, 1);
    self->last = arguments->devices[0];
    self->opened++;
    return self->last.device_type == kDLCPU || self->on_device == MORE_OK
               ? MORE_OK
               : more_fail(error, self->on_device, "the plugin's word");
}

static more_status open_with(device_host *self, const char *assignment, plugin *plugged, core_backbone *backbone,
                             more_error *error)
{
    core_config *config;
    assert_int_equal(core_config_create(&config, NULL), MORE_OK);
    if (assignment)
        assert_int_equal(core_config_set(config, assignment, NULL), MORE_OK);
    *backbone = (core_backbone){0};
    more_status status =
        core_backbone_open(backbone, config, self->abi, "llm", MORE_OPEN_DEFAULT, open_plugin, plugged, error);
    core_config_destroy(config);
    return status;
}

static void expect_opened(const char *assignment, more_status on_device, const char *device, int opened,
                          const char *line)
{
    device_host self;
    core_backbone backbone;
    plugin plugged = {.on_device = on_device};
    char shown[24];
    device_host_open_late(&self, 2, 64 * MIB);
    assert_int_equal(open_with(&self, assignment, &plugged, &backbone, NULL), MORE_OK);
    assert_int_equal(plugged.opened, opened);
    assert_string_equal(core_device_text(plugged.last, shown), device);
    assert_string_equal(core_device_text(backbone.device, shown), device);
    if (!strstr(self.log, line))
        fail_msg("'%s' is not in: %s", line, self.log);
    device_host_close(&self);
}

static void parts_are_opened_where_they_can_run(void **state)
{
    (void)state;
    expect_opened(NULL, MORE_OK, "cuda:0", 1, "2 llm: runs on cuda:0 (Late One), since device = auto and it can");
    expect_opened("runtime.device=cuda:1", MORE_OK, "cuda:1", 1,
                  "2 llm: runs on cuda:1 (Late Two), as the settings say");
    expect_opened("runtime.device=cpu", MORE_OK, "cpu", 1, "");
    expect_opened("runtime.device=auto", MORE_ERROR_UNSUPPORTED, "cpu", 2,
                  "2 llm: runs on the CPU, since device = auto and not on cuda:0 (Late One): the plugin's word");
    expect_opened(NULL, MORE_ERROR_MEMORY, "cpu", 2,
                  "1 llm: runs on the CPU, since device = auto and not on cuda:0 (Late One): the plugin's word");
}

static void expect_failure(const char *assignment, more_status on_device, more_status status, const char *message)
{
    device_host self;
    core_backbone backbone;
    plugin plugged = {.on_device = on_device};
    more_error error = {{0}};
    device_host_open_late(&self, 1, 64 * MIB);
    assert_int_equal(open_with(&self, assignment, &plugged, &backbone, &error), status);
    assert_true(plugged.opened <= 1);
    if (!strstr(error.message, message))
        fail_msg("'%s' is not in: %s", message, error.message);
    device_host_close(&self);
}

static void only_auto_falls_back(void **state)
{
    (void)state;
    expect_failure("runtime.device=cuda:0", MORE_ERROR_UNSUPPORTED, MORE_ERROR_UNSUPPORTED, "the plugin's word");
    expect_failure("runtime.device=cuda", MORE_ERROR_MEMORY, MORE_ERROR_MEMORY, "the plugin's word");
    expect_failure("runtime.device=auto", MORE_ERROR_CORRUPT, MORE_ERROR_CORRUPT, "the plugin's word");
    expect_failure("runtime.device=cuda:1", MORE_OK, MORE_ERROR_NOT_FOUND,
                   "--set: [runtime] device = cuda:1: there is no cuda:1: this machine has 1 CUDA device: cuda:0");
    expect_failure("runtime.device=gpu", MORE_OK, MORE_ERROR_ARGUMENT, "--set: [runtime] device = gpu: want auto, cpu");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_understood),
        cmocka_unit_test(without_a_driver_auto_is_the_cpu),
        cmocka_unit_test(parts_are_opened_where_they_can_run),
        cmocka_unit_test(only_auto_falls_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
