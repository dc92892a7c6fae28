/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Errors are negative errno values; the sentence behind one is kept per thread.
 */
#ifndef BASE_ERROR_H
#define BASE_ERROR_H

#include "base/check.h"

#include <errno.h>
#include <stddef.h>

enum { ERROR_MESSAGE_SIZE = 512 };

/* Keeps the message for mc_error_message() and returns code, so that a caller
 * can write `return error_set(-EINVAL, "workers is %u; at most 256", n);`. */
COLD int error_set(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed system call: appends the text of code. */
COLD int error_system(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* strerror() for what should be a negative errno but may be any number. */
const char *error_text(int code);

/* What was kept last: the sentence, and the code that it came with. */
const char *error_message(void);
int error_code(void);
void error_clear(void);

#endif
