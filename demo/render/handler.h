/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Everything that runs in the workers: the handler "render", which renders one
 * page, and the document that each worker opens once.
 *
 *   arguments  a map: out (string), dpi, thumbs, crash_page (integers), the
 *              same for all pages; the page is the task's range
 *   result     struct page_reply and the thumbnail, written in place
 */
#ifndef RENDER_HANDLER_H
#define RENDER_HANDLER_H

#include "page.h"

#include <multicore.h>

#define RENDER_HANDLER "render"

/* hook_context is the path of the document, the state is the open document. */
int render_init(void *hook_context, void **state);
void render_exit(void *state);

int render_run(mc_task *task);

/* Submits one task for each page of the document. Returns what
 * mc_group_map_value() returns. */
int render_submit(mc_group *group, const struct page_request *request, unsigned pages);

#endif
