/* SPDX-License-Identifier: Apache-2.0
 *
 * A whole assembly from a preset, whose calls into the plugins are counted and whose logits are kept: what a test of
 * reuse compares. Several may be open at one time if they are of the same plugins.
 */
#ifndef ASSEMBLED_H
#define ASSEMBLED_H

#include "assembly/assembly.h"
#include "base/buffer.h"
#include "generate/chat.h"

typedef struct assembled {
    core_config *config;
    core_host *host;
    core_registry *registry;
    core_functions *functions;
    core_assembly *assembly;
    more_language_interface language;
    more_vision_interface vision;
} assembled;

/* What went into the plugins since the last assembled_forget. */
typedef struct assembled_counts {
    int64_t rows;       /* that advance() took and did */
    int64_t refused;    /* calls of advance() that asked for a replay */
    int64_t images;     /* that encode() took */
    int64_t advances;   /* calls of advance() */
    core_buffer logits; /* f32, every row of logits that advance() gave, in order */
} assembled_counts;

extern assembled_counts counts;

/* Fails the running test with the reason. `assignments` ("section.key=value") end with NULL; the preset is a name or a
 * path. */
assembled *assembled_open(const char *preset, const char *const *assignments);
void assembled_close(assembled *self);
void assembled_forget(void);

core_chat *assembled_chat(assembled *self);
/* Asks; the answer is freed by llavamore_answer_clear. `images` are paths. */
void assembled_ask(core_chat *chat, const char *question, const char *const *images, int32_t image_count,
                   llavamore_answer *answer);
/* "share/images/red-ball.png" of the sources; free() it. */
char *assembled_source(const char *relative);
/* Makes a folder of share/tiny/llava-phi4 whose LongRoPE has its edge at `edge` rows. */
void assembled_phi4(char folder[64], int edge);
/* Removes a folder with all that is in it. */
void assembled_remove(const char *folder);

#endif
