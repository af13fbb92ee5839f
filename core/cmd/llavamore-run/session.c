/* SPDX-License-Identifier: Apache-2.0 */
#include "session.h"
#include "report.h"

static bool on_text(void *user, const char *text, size_t size)
{
    session *self = user;
    terminal_clear_bar(self->terminal);
    return output_write(&self->out, text, size);
}

int session_ask(session *self, const char *question, const llavamore_image *images, int32_t image_count)
{
    more_error error = {{0}};
    llavamore_answer answer = {0};
    const arguments *args = self->args;
    llavamore_question ask = {.text = question, .images = images, .image_count = image_count, .user = self};
    ask.on_text = args->json ? NULL : on_text;
    ask.dump_folder = args->dump_folder;
    ask.dump_layers = args->dump_layers;
    more_status status = llavamore_chat_ask(self->chat, &ask, &answer, &error);
    terminal_clear_bar(self->terminal);
    if (status != MORE_OK)
        return output_finish(&self->out, PROGRAM, fail_status(PROGRAM, status, &error));
    if (args->json)
        status = report_answer(&self->out, self->model, &answer, &error);
    else
        output_text(&self->out, "\n");
    if (args->verbose && !self->out.error)
        report_timings(self->model, &answer);
    llavamore_answer_clear(&answer);
    int code = EXIT_SUCCESS;
    if (status != MORE_OK)
        code = fail_status(PROGRAM, status, &error);
    else if (interrupt_seen(self->interrupt))
        code = EXIT_INTERRUPTED;
    return output_finish(&self->out, PROGRAM, code);
}
