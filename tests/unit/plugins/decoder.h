/* SPDX-License-Identifier: Apache-2.0
 *
 * What the tests of decoder plugins share: opening one on a test folder, and tables of configs that must be refused.
 */
#ifndef TEST_DECODER_H
#define TEST_DECODER_H

#include "../../parity/parity.h"
#include "folder.h"

typedef struct opened_decoder {
    const more_language_interface *interface;
    parity_checkpoint checkpoint;
    more_language *language;
    more_status status; /* of open(), as is the error */
    more_error error;
} opened_decoder;

/* Opens the written folder with a plugin, "llm/phi4". */
opened_decoder open_decoder(const char *plugin, const more_host *host, const test_folder *folder,
                            more_open_flags flags);
void close_decoder(opened_decoder *decoder);

typedef struct bad_case {
    const char *key, *value;    /* change of the config; or */
    const char *tensor, *shape; /* of a tensor; NULL shape removes it */
    const char *message;        /* what the line must name; further things behind '|' */
} bad_case;

/* Every case, on a right folder of its own, is refused with its message and leaves nothing behind, when weights are
 * loaded and when only metadata is asked for. */
void assert_refused(const char *plugin, test_folder (*make_folder)(void), const bad_case *cases, size_t count);

#endif
