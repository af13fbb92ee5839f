/* SPDX-License-Identifier: Apache-2.0
 *
 * A plugin of any of the three kinds, opened on a test folder in one way.
 */
#ifndef TEST_OPENED_H
#define TEST_OPENED_H

#include "../../parity/parity.h"
#include "folder.h"

typedef enum plugin_kind { CLIP, MLP, LLAMA, KINDS } plugin_kind;

/* For parity_plugin; the descriptor's kind and interface; what is taken off the names of a folder's tensors. */
typedef struct kind_facts {
    const char *path, *kind, *interface, *prefix;
} kind_facts;
extern const kind_facts kinds[KINDS];

typedef struct opened {
    plugin_kind kind;
    parity_checkpoint checkpoint;
    const void *interface;
    void *instance;
    more_status status;
    more_error error;
} opened;

/* The right folder of a kind, to be changed and written by the test. */
test_folder new_folder(plugin_kind kind);
/* Opens the written folder; the projector between widths 12 and 16. The result of open() is in status and error. */
opened open_folder(plugin_kind kind, const test_folder *folder, more_open_flags flags, const more_host *host,
                   const char *option, const char *value);
void close_opened(opened *o);

#endif
