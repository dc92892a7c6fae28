/* SPDX-License-Identifier: BSD-3-Clause */
#include "serialize/json_check.h"

#include "serialize/codec.h"

int json_check(const char *text, size_t size)
{
    unsigned depth = 0;
    bool in_string = false;
    for (size_t at = 0; at < size; at++) {
        switch (text[at]) {
        case '\0':
            return error_set(-EBADMSG, "malformed JSON at offset %zu: a zero byte", at);
        case '"':
            in_string = !in_string;
            break;
        case '\\':
            /* An escaped quote does not end the string. */
            if (in_string && at + 1 < size && text[at + 1] != '\0')
                at++;
            break;
        case '[':
        case '{':
            if (in_string)
                break;
            if (depth == DEPTH_LIMIT)
                return error_set(-EMSGSIZE,
                                 "JSON at offset %zu is nested too deep: the limit is %d levels",
                                 at, DEPTH_LIMIT);
            depth++;
            break;
        case ']':
        case '}':
            if (!in_string && depth > 0)
                depth--;
            break;
        default:
            break;
        }
    }
    return 0;
}
