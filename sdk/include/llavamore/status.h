/* SPDX-License-Identifier: Apache-2.0
 *
 * Status codes and the error message that goes with them.
 *
 * Every call of this ABI that can fail returns a more_status and takes a `more_error *` as its last argument. On
 * failure the callee writes one line into it: what is wrong, where (file, tensor, key), the offending value, and what
 * to do. On success the message is left alone. A NULL error pointer is allowed everywhere: the caller then has the
 * code only.
 */
#ifndef LLAVAMORE_STATUS_H
#define LLAVAMORE_STATUS_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Negative codes are failures; MORE_NEEDS_REPLAY asks the caller for something. Values never change their meaning. */
typedef int32_t more_status;
enum {
    MORE_OK = 0,
    MORE_NEEDS_REPLAY = 1,       /* the session cannot go on from here: create one and advance from the history */
    MORE_ERROR_ARGUMENT = -1,    /* a value out of its documented range */
    MORE_ERROR_NOT_FOUND = -2,   /* no such file, tensor, key, plugin or function */
    MORE_ERROR_CORRUPT = -3,     /* a file contradicts itself, its size or its format */
    MORE_ERROR_UNSUPPORTED = -4, /* well-formed, but nothing here can handle it */
    MORE_ERROR_MEMORY = -5,      /* an allocation failed, or a stated cap would be exceeded */
    MORE_ERROR_IO = -6,          /* the system refused a read or a write */
    MORE_ERROR_CANCELLED = -7,   /* the host's cancellation flag was set */
    MORE_ERROR_VERSION = -8,     /* ABI or interface revisions do not match */
    MORE_ERROR_LIMIT = -9,       /* a context length or another limit of the model is reached */
    MORE_ERROR_INTERNAL = -10    /* a bug: please report it */
};

/* Size of the message buffer in bytes, the terminating NUL included. Frozen. */
#define MORE_ERROR_SIZE 1024

/* The caller owns it, one a thread; UTF-8, NUL-terminated, one line, no trailing full stop. */
typedef struct more_error {
    char message[MORE_ERROR_SIZE];
} more_error;

#if defined(__GNUC__)
#define MORE_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define MORE_PRINTF(text, first)
#endif

/* Writes a printf-style message (cut to the buffer) and returns `status`: `return more_fail(error, MORE_ERROR_...,
 * ...)`. [any-thread] */
MORE_PRINTF(3, 4)
static inline more_status more_fail(more_error *error, more_status status, const char *format, ...)
{
    if (error) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(error->message, sizeof error->message, format, arguments);
        va_end(arguments);
    }
    return status;
}

#ifdef __cplusplus
}
#endif
#endif
