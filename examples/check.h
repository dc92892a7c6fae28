/* SPDX-License-Identifier: BSD-3-Clause
 *
 * For the examples: ends the program, with the library's sentence, when a call
 * has failed. Returns the status otherwise.
 */
#ifndef EXAMPLES_CHECK_H
#define EXAMPLES_CHECK_H

#include <multicore.h>

#include <stdio.h>
#include <stdlib.h>

static inline int check(int status)
{
    if (status < 0) {
        fprintf(stderr, "error %d: %s\n", status, mc_error_message());
        exit(EXIT_FAILURE);
    }
    return status;
}

#endif
