/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A web server with libmicrohttpd, in one thread, whose slow requests go to a pool:
 * GET /N answers with the sum of the numbers below N. A request is suspended when its
 * group is submitted, and resumed when that is done. A child plays the client.
 */
#include "../check.h"

#include <inttypes.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { REQUESTS = 2 };

static mc_pool *pool;
static int answered;

struct request {
    struct MHD_Connection *connection;
    mc_group *group;
    uint64_t sum;
    unsigned status; /* 0: not done */
};

/* ---- In a worker ---- */

static int add_up(mc_task *task)
{
    uint64_t sum = 0;
    for (uint64_t i = mc_task_start(task); i < mc_task_end(task); i++)
        sum += i;
    return mc_task_reply(task, &sum, sizeof(sum));
}

/* ---- In the server ---- */

static void request_done(mc_group *group, void *context)
{
    struct request *request = context;
    struct mc_result result = {.size = sizeof(result)};
    request->status = MHD_HTTP_OK;
    while (mc_group_next(group, &result, 0) == 1)
        if (result.status == 0)
            request->sum += *(const uint64_t *)result.data;
        else
            request->status = MHD_HTTP_INTERNAL_SERVER_ERROR;
    MHD_resume_connection(request->connection);
}

/* Returns false when the pool does not take it. */
static bool submit(struct request *request, uint64_t items)
{
    const struct mc_group_options options = {.size = sizeof(options),
                                             .on_done = request_done,
                                             .context = request,
                                             .time_limit_ms = 10000,
                                             .start_within_ms = 10000};
    return mc_group_open(pool, &options, &request->group) == 0 &&
           mc_group_map(request->group, "add_up", items, NULL, NULL, 0) == 0;
}

static enum MHD_Result answer(struct request *request)
{
    char text[32];
    int size = snprintf(text, sizeof(text), "%" PRIu64 "\n", request->sum);
    struct MHD_Response *response =
        MHD_create_response_from_buffer((size_t)size, text, MHD_RESPMEM_MUST_COPY);
    if (request->status == MHD_HTTP_SERVICE_UNAVAILABLE)
        MHD_add_response_header(response, "Retry-After", "1");
    enum MHD_Result queued = MHD_queue_response(request->connection, request->status, response);
    MHD_destroy_response(response);
    return queued;
}

/* Called for a new request, and again when it was resumed. */
static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *size, void **own)
{
    struct request *request = *own;
    (void)context, (void)method, (void)version, (void)data, (void)size;
    if (!request) {
        *own = request = calloc(1, sizeof(*request));
        if (!request)
            return MHD_NO;
        request->connection = connection;
        return MHD_YES;
    }
    uint64_t items = strtoull(url + 1, NULL, 10);
    if (items == 0) /* nothing to submit, so nothing would be reported */
        request->status = MHD_HTTP_BAD_REQUEST;
    if (request->status == 0 && submit(request, items)) {
        MHD_suspend_connection(connection);
        return MHD_YES;
    }
    if (request->status == 0)
        request->status = MHD_HTTP_SERVICE_UNAVAILABLE;
    return answer(request);
}

static void on_end(void *context, struct MHD_Connection *connection, void **own,
                   enum MHD_RequestTerminationCode how)
{
    struct request *request = *own;
    (void)context, (void)connection, (void)how;
    if (!request)
        return;
    mc_group_close(request->group);
    free(request);
    answered++;
}

static void serve(struct MHD_Daemon *daemon)
{
    const int fd = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    struct pollfd watched[] = {{.fd = fd, .events = POLLIN},
                               {.fd = check(mc_pool_fd(pool)), .events = POLLIN}};
    while (answered < REQUESTS && poll(watched, 2, 1000) >= 0) {
        if (watched[1].revents != 0)
            check(mc_pool_dispatch(pool));
        MHD_run(daemon); /* nothing becomes readable when a request is resumed */
    }
}

/* ---- The client ---- */

static void ask(uint16_t port, const char *path)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    char text[1024] = "";
    size_t size = 0;
    ssize_t more;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        _exit(1);
    dprintf(fd, "GET %s HTTP/1.0\r\n\r\n", path);
    while (size < sizeof(text) - 1 && (more = read(fd, text + size, sizeof(text) - 1 - size)) > 0)
        size += (size_t)more;
    close(fd);
    const char *body = strstr(text, "\r\n\r\n");
    dprintf(STDOUT_FILENO, "%s: %s", path, body ? body + 4 : "no answer\n");
}

int main(void)
{
    const struct mc_handler handlers[] = {{.name = "add_up", .run = add_up}};
    const struct mc_pool_options options = {
        .size = sizeof(options), .handlers = handlers, .handler_count = 1};
    check(mc_pool_open(&options, &pool));
    struct MHD_Daemon *daemon =
        MHD_start_daemon(MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, NULL,
                         MHD_OPTION_NOTIFY_COMPLETED, on_end, NULL, MHD_OPTION_END);
    if (!daemon)
        return 1;
    uint16_t port = MHD_get_daemon_info(daemon, MHD_DAEMON_INFO_BIND_PORT)->port;
    pid_t client = fork();
    if (client == 0) {
        ask(port, "/1000");
        ask(port, "/2000000");
        _exit(0);
    }
    serve(daemon);
    waitpid(client, NULL, 0);
    MHD_stop_daemon(daemon);
    mc_pool_close(pool);
    return 0;
}
