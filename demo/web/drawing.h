/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What looks into PDF documents: a shared object beside the program, because fifty libraries
 * come with it. The server is up before they are linked, and a server that draws nothing
 * never has them.
 */
#ifndef WEB_DRAWING_H
#define WEB_DRAWING_H

#include "work.h"

#define DRAWING_FILE   "web-drawing.so"
#define DRAWING_SYMBOL "drawing"

/* The functions of the works in pages.h. */
struct drawing {
    int (*count)(const void *args, size_t size, struct reply *reply, struct failure *failure);
    int (*draw)(const void *args, size_t size, struct reply *reply, struct failure *failure);
};

extern const struct drawing drawing;

#endif
