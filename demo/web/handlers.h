/* SPDX-License-Identifier: BSD-3-Clause
 *
 * All that runs in the workers: one handler for each work, under the work's name, with
 * the work's arguments and reply as raw bytes. Works that compute run on the cores; those
 * that ask the database run in I/O workers, each of which has connections of its own.
 */
#ifndef WEB_HANDLERS_H
#define WEB_HANDLERS_H

#include <multicore.h>
#include <stddef.h>

extern const struct mc_handler handlers[];
extern const size_t handler_count;

/* hook_context is the program's struct options, the state the worker's database. */
int handlers_init(void *hook_context, void **state);
void handlers_exit(void *state);

#endif
