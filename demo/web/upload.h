/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The routes of the page.
 */
#ifndef WEB_UPLOAD_H
#define WEB_UPLOAD_H

#include "request.h"

/* / and what it is made of. */
void serve_page(struct request *request);
/* /documents: takes a form with the file "document", leads to its page. */
void receive_upload(struct request *request, const char *data, size_t size);
void serve_upload(struct request *request);
/* /documents/NAME/ is the document's page, /documents/NAME/7 the picture of its page 7. */
void serve_document(struct request *request);

#endif
