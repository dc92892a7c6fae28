/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Listening sockets. Return a descriptor, or a negative errno and a sentence.
 */
#ifndef WEB_LISTEN_H
#define WEB_LISTEN_H

#include "failure.h"

#include <stddef.h>

/* At HOST:PORT; name becomes what it is in numbers. */
int listen_tcp(const char *place, char *name, size_t size, struct failure *failure);

/* At a path; a socket that nobody serves any more is replaced. */
int listen_unix(const char *path, struct failure *failure);

#endif
