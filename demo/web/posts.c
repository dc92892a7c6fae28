/* SPDX-License-Identifier: BSD-3-Clause */
#include "posts.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SQUARES = 10000000 };

#define TIME(column)                                                                               \
    "to_char(" column " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS " column
#define COLUMNS "id, title, content, " TIME("created_at") ", " TIME("updated_at")

/* One statement for the page and the count: they agree, and cost one round trip. */
const struct statement posts_statements[] = {
    {"create",
     "INSERT INTO posts (id, title, content, created_at, updated_at)"
     " VALUES (gen_random_uuid(), $1, $2, now(), now()) RETURNING " COLUMNS,
     2, false},
    {"read",
     "SELECT " COLUMNS ", (SELECT count(*) FROM posts) AS count FROM posts ORDER BY posts.id"
     " LIMIT 25",
     0, true},
};

static const char *const columns[] = {"id", "title", "content", "created_at", "updated_at"};
enum { COLUMN_COUNT = sizeof(columns) / sizeof(columns[0]) };

static int put_json(json_t *object, struct reply *reply, struct failure *failure)
{
    reply->data = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (!reply->data)
        return failure_set(failure, -ENOMEM, "no memory for the answer");
    reply->size = strlen(reply->data);
    return 0;
}

/* ---- cpu ---- */

/* The sum needs 69 bits. The compiler may know nothing of the square, or it would put a
 * formula in place of the loop. */
static unsigned __int128 sum_of_squares(uint64_t count)
{
    unsigned __int128 sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t square = i * i;
        __asm__ volatile("" : "+r"(square));
        sum += square;
    }
    return sum;
}

static int cpu_compute(const void *args, size_t size, struct reply *reply, struct failure *failure)
{
    const uint64_t part = 1000000000000000000u; /* what one %PRIu64 prints of it */
    unsigned __int128 sum = sum_of_squares(SQUARES);
    char *text;
    (void)args;
    (void)size;
    int length = asprintf(&text, "{\"result\":%" PRIu64 "%018" PRIu64 "}", (uint64_t)(sum / part),
                          (uint64_t)(sum % part));
    if (length < 0)
        return failure_set(failure, -ENOMEM, "no memory for the answer");
    *reply = (struct reply){text, (size_t)length};
    return 0;
}

/* ---- io_create ---- */

static int copy_member(const json_t *body, const char *key, char **value, struct failure *failure)
{
    const char *text = json_string_value(json_object_get(body, key));
    if (!text)
        return failure_set(failure, -EINVAL,
                           "the body must be a JSON object with the string \"%s\"", key);
    *value = strdup(text);
    return *value ? 0 : failure_set(failure, -ENOMEM, "no memory for the post");
}

static int create_ask(const void *args, size_t size, struct query *query, struct failure *failure)
{
    json_error_t error;
    json_t *body = json_loadb(args, size, JSON_REJECT_DUPLICATES, &error);
    if (!body)
        return failure_set(failure, -EINVAL, "the body is no JSON, at byte %d: %s", error.position,
                           error.text);
    query->statement = &posts_statements[0];
    int status = copy_member(body, "title", &query->values[0], failure);
    if (status == 0)
        status = copy_member(body, "content", &query->values[1], failure);
    json_decref(body);
    return status;
}

static json_t *read_post(const PGresult *result, int row)
{
    json_t *post = json_object();
    for (int i = 0; i < COLUMN_COUNT; i++)
        if (json_object_set_new(post, columns[i], json_string(PQgetvalue(result, row, i))) < 0) {
            json_decref(post);
            return NULL;
        }
    return post;
}

static int create_tell(const PGresult *result, struct reply *reply, struct failure *failure)
{
    if (PQntuples(result) != 1)
        return failure_set(failure, -EIO, "the database did not give the post back");
    return put_json(read_post(result, 0), reply, failure);
}

/* ---- io_read ---- */

static int read_ask(const void *args, size_t size, struct query *query, struct failure *failure)
{
    (void)args;
    (void)size;
    (void)failure;
    query->statement = &posts_statements[1];
    return 0;
}

static int read_tell(const PGresult *result, struct reply *reply, struct failure *failure)
{
    int rows = PQntuples(result);
    long long count = rows > 0 ? strtoll(PQgetvalue(result, 0, COLUMN_COUNT), NULL, 10) : 0;
    json_t *posts = json_array();
    for (int i = 0; i < rows; i++)
        if (json_array_append_new(posts, read_post(result, i)) < 0) {
            json_decref(posts);
            return failure_set(failure, -ENOMEM, "no memory for the answer");
        }
    return put_json(json_pack("{s:I, s:o}", "count", (json_int_t)count, "results", posts), reply,
                    failure);
}

#define JSON_TYPE "application/json"

const struct work posts_cpu = {.name = "cpu", .media_type = JSON_TYPE, .compute = cpu_compute};
const struct work posts_create = {
    .name = "io_create", .media_type = JSON_TYPE, .ask = create_ask, .tell = create_tell};
const struct work posts_read = {
    .name = "io_read", .media_type = JSON_TYPE, .ask = read_ask, .tell = read_tell};
