/* SPDX-License-Identifier: BSD-3-Clause
 *
 * From a task's result, a map of status, headers and body, or just the bytes of the
 * body, to a response.
 */
#include "ngx_multicore.h"

/* ---- headers ---- */

/* What nginx says by itself, or a handler cannot know. */
static const ngx_str_t withheld[] = {
    ngx_string("Connection"), ngx_string("Content-Length"),
    ngx_string("Keep-Alive"), ngx_string("Transfer-Encoding"),
    ngx_string("Upgrade"),    ngx_string("Trailer"),
    ngx_string("TE"),
};

/* Headers that nginx looks at, and where it looks. */
static const struct {
    ngx_str_t name;
    size_t place;
} observed[] = {
    {ngx_string("Server"), offsetof(ngx_http_headers_out_t, server)},
    {ngx_string("Date"), offsetof(ngx_http_headers_out_t, date)},
    {ngx_string("Location"), offsetof(ngx_http_headers_out_t, location)},
    {ngx_string("Content-Encoding"), offsetof(ngx_http_headers_out_t, content_encoding)},
    {ngx_string("Last-Modified"), offsetof(ngx_http_headers_out_t, last_modified)},
    {ngx_string("ETag"), offsetof(ngx_http_headers_out_t, etag)},
    {ngx_string("Expires"), offsetof(ngx_http_headers_out_t, expires)},
    {ngx_string("WWW-Authenticate"), offsetof(ngx_http_headers_out_t, www_authenticate)},
    {ngx_string("Content-Range"), offsetof(ngx_http_headers_out_t, content_range)},
    {ngx_string("Accept-Ranges"), offsetof(ngx_http_headers_out_t, accept_ranges)},
};

static bool is_withheld(const ngx_str_t *name)
{
    for (size_t i = 0; i < sizeof(withheld) / sizeof(withheld[0]); i++)
        if (ngx_multicore_same_name(&withheld[i], name))
            return true;
    return false;
}

/* RFC 9110: a name is a token, and no value spans lines. */
static bool is_header(const ngx_str_t *name, const ngx_str_t *value)
{
    for (size_t i = 0; i < name->len; i++)
        if (!(name->data[i] > ' ' && name->data[i] < 0x7f) ||
            ngx_strchr("()<>@,;:\\\"/[]?={}", name->data[i]) != NULL)
            return false;
    for (size_t i = 0; i < value->len; i++)
        if ((value->data[i] < ' ' && value->data[i] != '\t') || value->data[i] == 0x7f)
            return false;
    return name->len > 0;
}

ngx_int_t ngx_multicore_add_header(ngx_http_request_t *r, const ngx_str_t *name,
                                   const ngx_str_t *value, ngx_table_elt_t **added)
{
    ngx_table_elt_t *header = ngx_list_push(&r->headers_out.headers);
    if (header == NULL)
        return NGX_ERROR;
    ngx_memzero(header, sizeof(*header)); /* its members differ from version to version */
    header->hash = 1;
    header->key = *name;
    header->value = *value;
    if (added != NULL)
        *added = header;
    return NGX_OK;
}

static ngx_int_t set_header(ngx_http_request_t *r, const ngx_str_t *name, const ngx_str_t *value)
{
    static const ngx_str_t content_type = ngx_string("Content-Type");
    ngx_table_elt_t *added;
    if (is_withheld(name))
        return NGX_OK;
    if (ngx_multicore_same_name(&content_type, name)) {
        r->headers_out.content_type = *value;
        r->headers_out.content_type_len = value->len;
        r->headers_out.content_type_lowcase = NULL;
        return NGX_OK;
    }
    if (ngx_multicore_add_header(r, name, value, &added) != NGX_OK)
        return NGX_ERROR;
    for (size_t i = 0; i < sizeof(observed) / sizeof(observed[0]); i++)
        if (ngx_multicore_same_name(&observed[i].name, name))
            *(ngx_table_elt_t **)((char *)&r->headers_out + observed[i].place) = added;
    return NGX_OK;
}

/* ---- the result ---- */

/* A copy in the request's memory: the log may ask for it when the group is closed. */
static int read_text(ngx_http_request_t *r, mc_value value, ngx_str_t *text)
{
    const char *data;
    ngx_str_t found;
    int result = mc_value_string(value, &data, &found.len);
    if (result < 0)
        return result;
    found.data = (u_char *)data;
    text->len = found.len;
    text->data = ngx_pstrdup(r->pool, &found);
    return text->data != NULL ? 0 : mc_fail(-ENOMEM, "no memory for a header");
}

static int read_headers(ngx_http_request_t *r, mc_value answer)
{
    mc_value headers, key, value;
    if (mc_value_get(answer, "headers", &headers) < 0)
        return 0;
    if (mc_value_type(headers) != MC_MAP)
        return mc_fail(-EINVAL, "its headers are not a map");
    for (size_t i = 0; mc_value_entry(headers, i, &key, &value) == 0; i++) {
        ngx_str_t name, text;
        int result = read_text(r, key, &name);
        if (result == 0)
            result = read_text(r, value, &text);
        if (result < 0)
            return result;
        if (!is_header(&name, &text))
            return mc_fail(-EINVAL, "header number %zu is none", i);
        if (set_header(r, &name, &text) != NGX_OK)
            return mc_fail(-ENOMEM, "no memory for a header");
    }
    return 0;
}

static int read_status(ngx_http_request_t *r, mc_value answer)
{
    mc_value value;
    int64_t status = NGX_HTTP_OK;
    if (mc_value_get(answer, "status", &value) == 0) {
        int result = mc_value_int(value, &status);
        if (result < 0)
            return result;
    }
    if (status < 200 || status > 599)
        return mc_fail(-ERANGE, "its status is %lld: 200 to 599", (long long)status);
    r->headers_out.status = (ngx_uint_t)status;
    return 0;
}

static int read_body(mc_value value, ngx_str_t *body)
{
    const void *data = NULL;
    const char *text = NULL;
    int result = 0;
    if (mc_value_type(value) == MC_STRING) {
        result = mc_value_string(value, &text, &body->len);
        data = text;
    } else if (mc_value_type(value) != MC_NIL) {
        result = mc_value_bytes(value, &data, &body->len);
    }
    body->data = (u_char *)(uintptr_t)data;
    return result;
}

static int read_answer(struct passing *passing, const struct mc_result *result, ngx_str_t *body)
{
    ngx_http_request_t *r = passing->request;
    mc_value answer, value;
    r->headers_out.status = NGX_HTTP_OK;
    if (result->data == NULL)
        return 0;
    int status = mc_group_value(passing->group, result->index, &answer);
    if (status < 0 || mc_value_type(answer) != MC_MAP)
        return status < 0 ? status : read_body(answer, body);
    status = read_status(r, answer);
    if (status == 0)
        status = read_headers(r, answer);
    if (status == 0 && mc_value_get(answer, "body", &value) == 0)
        status = read_body(value, body);
    return status;
}

/* ---- the response ---- */

static ngx_int_t send_body(ngx_http_request_t *r, ngx_str_t *body)
{
    ngx_buf_t *buffer = ngx_calloc_buf(r->pool);
    ngx_chain_t *chain = ngx_alloc_chain_link(r->pool);
    if (buffer == NULL || chain == NULL)
        return NGX_ERROR;
    buffer->pos = body->data;
    buffer->last = body->data + body->len;
    buffer->memory = body->len > 0;
    buffer->last_buf = r == r->main;
    buffer->sync = body->len == 0 && r != r->main; /* nothing at all is an alert */
    buffer->last_in_chain = 1;
    chain->buf = buffer;
    chain->next = NULL;
    return ngx_http_output_filter(r, chain);
}

ngx_int_t ngx_multicore_respond(struct passing *passing, const struct mc_result *result)
{
    ngx_http_request_t *r = passing->request;
    ngx_str_t body = ngx_null_string;
    int status = read_answer(passing, result, &body);
    if (status < 0) {
        ngx_multicore_complain(passing, NGX_LOG_ERR, "cannot send its result", status,
                               mc_error_message());
        ngx_http_clean_header(r);
        return NGX_HTTP_BAD_GATEWAY;
    }
    r->headers_out.content_length_n = (off_t)body.len;
    if (r->headers_out.content_type.len == 0 && ngx_http_set_content_type(r) != NGX_OK)
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    ngx_int_t sent = ngx_http_send_header(r);
    if (sent == NGX_ERROR || sent > NGX_OK || r->header_only)
        return sent;
    return send_body(r, &body);
}
