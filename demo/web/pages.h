/* SPDX-License-Identifier: BSD-3-Clause
 *
 * PDF documents as works. The process that does them keeps the last document open.
 */
#ifndef WEB_PAGES_H
#define WEB_PAGES_H

#include "work.h"

#include <limits.h>
#include <stdint.h>

/* The arguments of both; only the used part of path, with its zero byte, is sent. */
struct page_wanted {
    uint32_t number; /* from 1 */
    char path[PATH_MAX];
};

/* How many pages the document has, as a uint32_t. */
extern const struct work pages_count;
/* One page as a PNG picture, small. */
extern const struct work pages_draw;
/* Loads what the other two need, which takes a while the first time; no arguments, no reply. */
extern const struct work pages_prepare;

#endif
