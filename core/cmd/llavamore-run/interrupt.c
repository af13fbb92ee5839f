/* SPDX-License-Identifier: Apache-2.0 */
#include "interrupt.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

struct interrupt {
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    llavamore_settings *settings;
    llavamore_model *model;
    bool seen, stop;
};

static void cancel(interrupt *self, bool cancelled)
{
    if (self->settings)
        llavamore_settings_cancel(self->settings, cancelled);
    if (self->model)
        llavamore_model_cancel(self->model, cancelled);
}

static void end_process(void)
{
    sigset_t set;
    signal(SIGINT, SIG_DFL);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    raise(SIGINT);
}

static void *wait_for_signals(void *argument)
{
    interrupt *self = argument;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    for (int number; sigwait(&set, &number) == 0;) {
        pthread_mutex_lock(&self->lock);
        bool stop = self->stop, again = self->seen;
        if (!stop && !again) {
            self->seen = true;
            cancel(self, true);
        }
        pthread_mutex_unlock(&self->lock);
        if (stop)
            break;
        if (again)
            end_process();
    }
    return NULL;
}

interrupt *interrupt_create(void)
{
    sigset_t set, before;
    interrupt *self = calloc(1, sizeof *self);
    if (!self)
        return NULL;
    pthread_mutex_init(&self->lock, NULL);
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, &before);
    if (pthread_create(&self->thread, NULL, wait_for_signals, self)) {
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_mutex_destroy(&self->lock);
        free(self);
        return NULL;
    }
    return self;
}

void interrupt_watch(interrupt *self, llavamore_settings *settings, llavamore_model *model)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->settings = settings;
    self->model = model;
    if (self->seen)
        cancel(self, true); /* it came between two stages */
    pthread_mutex_unlock(&self->lock);
}

bool interrupt_seen(interrupt *self)
{
    if (!self)
        return false;
    pthread_mutex_lock(&self->lock);
    bool seen = self->seen;
    pthread_mutex_unlock(&self->lock);
    return seen;
}

void interrupt_rearm(interrupt *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    if (self->seen)
        cancel(self, false);
    self->seen = false;
    pthread_mutex_unlock(&self->lock);
}

void interrupt_destroy(interrupt *self)
{
    if (!self)
        return;
    pthread_mutex_lock(&self->lock);
    self->stop = true;
    pthread_mutex_unlock(&self->lock);
    pthread_kill(self->thread, SIGINT);
    pthread_join(self->thread, NULL);
    pthread_mutex_destroy(&self->lock);
    free(self);
}
