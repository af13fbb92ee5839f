/* SPDX-License-Identifier: Apache-2.0 */
#include "decoder.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

opened_decoder open_decoder(const char *plugin_name, const more_host *host, const test_folder *folder,
                            more_open_flags flags)
{
    const more_plugin *plugin = parity_plugin(plugin_name);
    opened_decoder o = {.interface = plugin->get_interface(MORE_LANGUAGE_INTERFACE)};

    o.checkpoint = parity_checkpoint_open(folder->source, NULL, o.interface->tensor_map());
    o.status =
        o.interface->open(parity_arguments(plugin, host, o.checkpoint.view, flags, NULL, NULL), &o.language, &o.error);
    return o;
}

void close_decoder(opened_decoder *decoder)
{
    decoder->interface->close(decoder->language);
    parity_checkpoint_close(&decoder->checkpoint);
}

static void refuse(const char *plugin, const more_host *host, test_folder folder, const bad_case *one,
                   more_open_flags flags)
{
    if (one->key)
        folder_config(&folder, one->key, one->value);
    else
        folder_shape(&folder, one->tensor, one->shape);
    folder_write(&folder);
    opened_decoder o = open_decoder(plugin, host, &folder, flags);
    if (o.status >= 0)
        fail_msg("\"%s\" was not refused", one->message);
    assert_names(o.error.message, one->message);
    assert_null(o.language);
    close_decoder(&o);
    assert_int_equal(parity_host_bytes(), 0);
    folder_free(&folder);
}

void assert_refused(const char *plugin, test_folder (*make_folder)(void), const bad_case *cases, size_t count)
{
    const more_host *host = parity_host(2);

    for (size_t i = 0; i < count; i++) {
        refuse(plugin, host, make_folder(), &cases[i], MORE_OPEN_DEFAULT);
        refuse(plugin, host, make_folder(), &cases[i], MORE_OPEN_METADATA_ONLY);
    }
    parity_host_close();
}
