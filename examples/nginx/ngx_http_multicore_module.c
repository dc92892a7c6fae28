/* SPDX-License-Identifier: BSD-3-Clause
 *
 * An nginx module that answers requests with handlers of a pool.
 *
 *     http {
 *         multicore_pool /run/multicore/thumbnails.socket;
 *         server {
 *             location /thumbnail { multicore_pass thumbnail; }
 *
 * This file has the directives; ngx_multicore.h tells where the rest is, and README.md
 * has the details.
 *
 * When the pool goes away, requests wait for the next one in a queue, each for
 * multicore_retry at most. Those that were not begun yet always may; those that were,
 * only if their location says multicore_idempotent.
 */
#include "ngx_multicore.h"

struct main_conf {
    ngx_array_t pools; /* struct attached *, each path once */
};

/* ---- directives ---- */

static char *set_pool(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct server_conf *server = conf;
    struct main_conf *all = ngx_http_conf_get_module_main_conf(cf, ngx_http_multicore_module);
    ngx_str_t path = ((ngx_str_t *)cf->args->elts)[1];
    (void)command;
    if (server->attached != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    if (ngx_conf_full_name(cf->cycle, &path, 0) != NGX_OK)
        return NGX_CONF_ERROR;
    struct attached **pools = all->pools.elts;
    for (ngx_uint_t i = 0; i < all->pools.nelts; i++) {
        if (pools[i]->path.len == path.len &&
            ngx_strncmp(pools[i]->path.data, path.data, path.len) == 0) {
            server->attached = pools[i];
            return NGX_CONF_OK;
        }
    }
    struct attached **place = ngx_array_push(&all->pools);
    if (place == NULL || (*place = ngx_pcalloc(cf->pool, sizeof(**place))) == NULL)
        return NGX_CONF_ERROR;
    (*place)->path = path;
    server->attached = *place;
    return NGX_CONF_OK;
}

static char *set_pass(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct location_conf *location = conf;
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    (void)command;
    if (location->handler.data != NULL)
        return "is duplicate";
    location->handler = ((ngx_str_t *)cf->args->elts)[1];
    if (location->handler.len == 0 || location->handler.len > 63)
        return "names no handler: they have 1 to 63 bytes";
    core->handler = ngx_multicore_handle;
    return NGX_CONF_OK;
}

static char *set_headers(ngx_conf_t *cf, ngx_command_t *command, void *conf)
{
    struct location_conf *location = conf;
    const ngx_str_t *names = cf->args->elts;
    (void)command;
    if (location->headers != NGX_CONF_UNSET_PTR)
        return "is duplicate";
    location->headers = ngx_array_create(cf->pool, cf->args->nelts, sizeof(ngx_str_t));
    if (location->headers == NULL)
        return NGX_CONF_ERROR;
    for (ngx_uint_t i = 1; i < cf->args->nelts; i++) /* there is room for all */
        *(ngx_str_t *)ngx_array_push(location->headers) = names[i];
    return NGX_CONF_OK;
}

/* ---- the configuration ---- */

static void *create_main_conf(ngx_conf_t *cf)
{
    struct main_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL ||
        ngx_array_init(&conf->pools, cf->pool, 1, sizeof(struct attached *)) != NGX_OK)
        return NULL;
    return conf;
}

static void *create_server_conf(ngx_conf_t *cf)
{
    struct server_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf != NULL)
        conf->attached = NGX_CONF_UNSET_PTR;
    return conf;
}

static char *merge_server_conf(ngx_conf_t *cf, void *parent, void *child)
{
    const struct server_conf *outer = parent;
    struct server_conf *conf = child;
    (void)cf;
    ngx_conf_merge_ptr_value(conf->attached, outer->attached, NULL);
    return NGX_CONF_OK;
}

static void *create_location_conf(ngx_conf_t *cf)
{
    struct location_conf *conf = ngx_pcalloc(cf->pool, sizeof(*conf));
    if (conf == NULL)
        return NULL;
    conf->timeout = NGX_CONF_UNSET_MSEC;
    conf->retry = NGX_CONF_UNSET_MSEC;
    conf->idempotent = NGX_CONF_UNSET;
    conf->headers = NGX_CONF_UNSET_PTR;
    return conf;
}

static char *merge_location_conf(ngx_conf_t *cf, void *parent, void *child)
{
    static ngx_str_t usual_names[] = {ngx_string("Host"), ngx_string("Content-Type"),
                                      ngx_string("Accept")};
    static ngx_array_t usual = {.elts = usual_names, .nelts = 3};
    const struct location_conf *outer = parent;
    struct location_conf *conf = child;
    const struct server_conf *server =
        ngx_http_conf_get_module_srv_conf(cf, ngx_http_multicore_module);
    ngx_http_core_loc_conf_t *core = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    ngx_conf_merge_msec_value(conf->timeout, outer->timeout, 60000);
    ngx_conf_merge_msec_value(conf->retry, outer->retry, 1000);
    ngx_conf_merge_value(conf->idempotent, outer->idempotent, 0);
    ngx_conf_merge_ptr_value(conf->headers, outer->headers, &usual);
    if (conf->handler.data != NULL && server->attached == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "multicore_pass \"%V\" needs a multicore_pool",
                           &conf->handler);
        return NGX_CONF_ERROR;
    }
    if (conf->handler.data == NULL && core->noname && core->handler == NULL) {
        conf->handler = outer->handler; /* "if" and "limit_except" */
        core->handler = outer->handler.data != NULL ? ngx_multicore_handle : NULL;
    }
    return NGX_CONF_OK;
}

/* ---- the nginx worker ---- */

static ngx_int_t init_process(ngx_cycle_t *cycle)
{
    struct main_conf *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_multicore_module);
    if (conf == NULL || (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE))
        return NGX_OK;
    struct attached **pools = conf->pools.elts;
    for (ngx_uint_t i = 0; i < conf->pools.nelts; i++)
        ngx_multicore_begin(pools[i], cycle->log);
    return NGX_OK;
}

static void exit_process(ngx_cycle_t *cycle)
{
    struct main_conf *conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_multicore_module);
    struct attached **pools = conf != NULL ? conf->pools.elts : NULL;
    for (ngx_uint_t i = 0; conf != NULL && i < conf->pools.nelts; i++)
        ngx_multicore_detach(pools[i]);
}

/* ---- the module ---- */

enum { ANYWHERE = NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF };

static ngx_command_t commands[] = {
    {ngx_string("multicore_pool"), NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_CONF_TAKE1,
     set_pool, NGX_HTTP_SRV_CONF_OFFSET, 0, NULL},
    {ngx_string("multicore_pass"),
     NGX_HTTP_LOC_CONF | NGX_HTTP_LIF_CONF | NGX_HTTP_LMT_CONF | NGX_CONF_TAKE1, set_pass,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    {ngx_string("multicore_timeout"), ANYWHERE | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, timeout), NULL},
    {ngx_string("multicore_retry"), ANYWHERE | NGX_CONF_TAKE1, ngx_conf_set_msec_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, retry), NULL},
    {ngx_string("multicore_idempotent"), ANYWHERE | NGX_CONF_FLAG, ngx_conf_set_flag_slot,
     NGX_HTTP_LOC_CONF_OFFSET, offsetof(struct location_conf, idempotent), NULL},
    {ngx_string("multicore_headers"), ANYWHERE | NGX_CONF_1MORE, set_headers,
     NGX_HTTP_LOC_CONF_OFFSET, 0, NULL},
    ngx_null_command,
};

static ngx_http_module_t context = {
    .create_main_conf = create_main_conf,
    .create_srv_conf = create_server_conf,
    .merge_srv_conf = merge_server_conf,
    .create_loc_conf = create_location_conf,
    .merge_loc_conf = merge_location_conf,
};

ngx_module_t ngx_http_multicore_module = {
    NGX_MODULE_V1,
    .ctx = &context,
    .commands = commands,
    .type = NGX_HTTP_MODULE,
    .init_process = init_process,
    .exit_process = exit_process,
};
