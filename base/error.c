/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/error.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message[ERROR_MESSAGE_SIZE];
static _Thread_local int last_code;

int error_set(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    last_code = code;
    return code;
}

int error_system(int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    if (length >= 0 && (size_t)length < sizeof(message)) {
        snprintf(message + length, sizeof(message) - (size_t)length, ": %s", error_text(code));
    }
    last_code = code;
    return code;
}

const char *error_text(int code)
{
    static _Thread_local char text[128];
    return strerror_r(code > 0 || code == INT_MIN ? EINVAL : -code, text, sizeof(text));
}

const char *error_message(void)
{
    return message;
}

int error_code(void)
{
    return last_code;
}

void error_clear(void)
{
    last_code = 0;
    message[0] = '\0';
}
