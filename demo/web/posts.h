/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The three routes of the study, as works.
 */
#ifndef WEB_POSTS_H
#define WEB_POSTS_H

#include "work.h"

/* {"result": N}, N being the sum of i * i for i below 10,000,000. */
extern const struct work posts_cpu;
/* Takes {"title": ..., "content": ...}; gives the new post. */
extern const struct work posts_create;
/* {"count": N, "results": [...]}: how many posts there are, and 25 of them. */
extern const struct work posts_read;

/* What posts_create and posts_read need prepared. */
extern const struct statement posts_statements[];

#endif
