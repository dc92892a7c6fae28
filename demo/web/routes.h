/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WEB_ROUTES_H
#define WEB_ROUTES_H

#include "request.h"

/* NULL when there is none. HEAD is as good as GET. */
const struct route *routes_find(const char *method, const char *path);

/* The methods that the path has, as in an Allow header; "" when there is no such path. */
const char *routes_allowed(const char *path);

#endif
