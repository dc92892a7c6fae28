/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Queries in the event loop.
 */
#ifndef WEB_ASYNC_H
#define WEB_ASYNC_H

#include "mode.h"

/* Like mode_start() and mode_cancel(), for a work that asks the database. */
void async_ask(struct mode *mode, struct job *job);
void async_cancel(struct mode *mode, struct job *job);

#endif
