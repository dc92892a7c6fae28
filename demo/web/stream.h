/* SPDX-License-Identifier: BSD-3-Clause
 *
 * /events: the state of workers, queue and admission as server-sent events, whenever it
 * has changed; with ?document=NAME that of the document too.
 */
#ifndef WEB_STREAM_H
#define WEB_STREAM_H

#include "request.h"

enum { STREAMS_MAX = 64, STREAM_MS = 100 };

void serve_events(struct request *request);

/* Tells all streams what is new. To be called every STREAM_MS while there are some. */
void streams_tell(struct server *server);

#endif
