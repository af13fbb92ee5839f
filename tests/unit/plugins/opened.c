/* SPDX-License-Identifier: Apache-2.0 */
#include "opened.h"

#include <llavamore/language.h>
#include <llavamore/projector.h>
#include <llavamore/vision.h>

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

const kind_facts kinds[KINDS] = {
    {"vision/clip", MORE_KIND_VISION, MORE_VISION_INTERFACE, NULL},
    {"projector/mlp", MORE_KIND_PROJECTOR, MORE_PROJECTOR_INTERFACE, "model.mm_projector."},
    {"llm/llama", MORE_KIND_LANGUAGE, MORE_LANGUAGE_INTERFACE, NULL}};

test_folder new_folder(plugin_kind kind)
{
    return kind == CLIP ? folder_clip() : kind == MLP ? folder_mlp() : folder_llama(2);
}

opened open_folder(plugin_kind kind, const test_folder *folder, more_open_flags flags, const more_host *host,
                   const char *option, const char *value)
{
    const more_plugin *plugin = parity_plugin(kinds[kind].path);
    opened o = {.kind = kind, .interface = plugin->get_interface(kinds[kind].interface)};
    const more_vision_interface *vision = o.interface;
    const more_projector_interface *projector = o.interface;
    const more_language_interface *language = o.interface;
    const more_tensor_map *map = kind == CLIP  ? vision->tensor_map()
                                 : kind == MLP ? projector->tensor_map()
                                               : language->tensor_map();
    const more_open *arguments;

    o.checkpoint = parity_checkpoint_open(folder->source, kinds[kind].prefix, map);
    arguments = parity_arguments(plugin, host, o.checkpoint.view, flags, option, value);
    if (kind == CLIP)
        o.status = vision->open(arguments, (more_vision **)&o.instance, &o.error);
    else if (kind == MLP)
        o.status = projector->open(arguments, 12, 16, (more_projector **)&o.instance, &o.error);
    else
        o.status = language->open(arguments, (more_language **)&o.instance, &o.error);
    return o;
}

void close_opened(opened *o)
{
    if (o->kind == CLIP)
        ((const more_vision_interface *)o->interface)->close(o->instance);
    else if (o->kind == MLP)
        ((const more_projector_interface *)o->interface)->close(o->instance);
    else
        ((const more_language_interface *)o->interface)->close(o->instance);
    parity_checkpoint_close(&o->checkpoint);
}
