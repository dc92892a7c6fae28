/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/settings.h"

#include "base/check.h"
#include "base/error.h"
#include "tools/units.h"

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define MEMBER(member)                                                                             \
    .offset = offsetof(struct settings, member),                                                   \
    .width = sizeof(((const struct settings *)NULL)->member)
#define KIB UINT64_C(1024)
#define DAY UINT64_C(86400000)

static const char *const pinnings[] = {"core", "none", NULL};
static const char *const engines[] = {"auto", "io_uring", "epoll", NULL};
static const char *const answers[] = {"no", "yes", NULL};

const struct key keys[] = {
    {.name = "socket",
     .type = KEY_PATH,
     .initial = "/run/multicore/socket",
     .most = sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1,
     .fixed = true,
     MEMBER(socket)},
    {.name = "socket-mode",
     .type = KEY_MODE,
     .initial = "0600",
     .most = 0777,
     .fixed = true,
     MEMBER(socket_mode)},
    {.name = "socket-user", .type = KEY_USER, .initial = "", .fixed = true, MEMBER(socket_user)},
    {.name = "socket-group", .type = KEY_GROUP, .initial = "", .fixed = true, MEMBER(socket_group)},
    {.name = "workers",
     .type = KEY_NUMBER,
     .initial = "auto",
     .zero = "auto",
     .least = 1,
     .most = MAX_SEATS,
     .fixed = true,
     MEMBER(serve.pool.workers)},
    {.name = "pinning",
     .type = KEY_CHOICE,
     .initial = "core",
     .choices = pinnings,
     MEMBER(serve.pool.pinning)},
    {.name = "io-workers",
     .type = KEY_NUMBER,
     .initial = "none",
     .zero = "none",
     .least = 1,
     .most = MAX_IO_SEATS,
     .fixed = true,
     MEMBER(serve.pool.io_workers)},
    {.name = "io-engine",
     .type = KEY_CHOICE,
     .initial = "auto",
     .choices = engines,
     MEMBER(serve.pool.io_engine)},
    {.name = "max-load-average",
     .type = KEY_LOAD,
     .initial = "none",
     .zero = "none",
     MEMBER(serve.pool.max_load_average)},
    {.name = "max-queue-delay",
     .type = KEY_DURATION,
     .initial = "never",
     .zero = "never",
     .least = 1,
     .most = DAY,
     .unit = 1,
     MEMBER(serve.pool.max_queue_delay_ms)},
    {.name = "queue-depth",
     .type = KEY_NUMBER,
     .initial = "4096",
     .least = 16,
     .most = MAX_SLOTS,
     .power_of_two = true,
     .fixed = true,
     MEMBER(serve.pool.queue_depth)},
    {.name = "max-payload",
     .type = KEY_SIZE,
     .initial = "256M",
     .least = 1,
     .most = KIB * KIB * KIB,
     .fixed = true,
     MEMBER(serve.pool.max_payload)},
    {.name = "arena-size",
     .type = KEY_SIZE,
     .initial = "auto",
     .zero = "auto",
     .least = 1,
     .most = 64 * KIB * KIB * KIB,
     .fixed = true,
     MEMBER(serve.pool.arena_size)},
    {.name = "max-clients",
     .type = KEY_NUMBER,
     .initial = "256",
     .least = 1,
     .most = MAX_LANES,
     .fixed = true,
     MEMBER(serve.pool.max_clients)},
    {.name = "max-clients-per-user",
     .type = KEY_NUMBER,
     .initial = "unlimited",
     .zero = "unlimited",
     .least = 1,
     .most = MAX_LANES,
     MEMBER(serve.max_clients_per_user)},
    {.name = "close-timeout",
     .type = KEY_DURATION,
     .initial = "10s",
     .least = 1,
     .most = DAY,
     .unit = 1,
     MEMBER(serve.pool.close_timeout_ms)},
    {.name = "max-tasks-per-worker",
     .type = KEY_NUMBER,
     .initial = "never",
     .zero = "never",
     .least = 1,
     .most = UINT64_MAX,
     MEMBER(serve.pool.max_tasks_per_worker)},
    {.name = "max-worker-age",
     .type = KEY_DURATION,
     .initial = "never",
     .zero = "never",
     .least = 1000,
     .most = 3650 * DAY,
     .unit = 1000,
     MEMBER(serve.pool.max_worker_age_s)},
    {.name = "max-worker-memory",
     .type = KEY_SIZE,
     .initial = "never",
     .zero = "never",
     .least = KIB * KIB,
     .most = KIB * KIB * KIB * KIB,
     MEMBER(serve.pool.max_worker_memory)},
    {.name = "refork-after",
     .type = KEY_NUMBER,
     .initial = "never",
     .zero = "never",
     .least = 1,
     .most = REFORK_AFTER_MOST,
     MEMBER(serve.pool.refork_after)},
    {.name = "slow-task",
     .type = KEY_DURATION,
     .initial = "never",
     .zero = "never",
     .least = 1,
     .most = DAY,
     .unit = 1,
     MEMBER(serve.pool.slow_task_ms)},
    {.name = "load-timeout",
     .type = KEY_DURATION,
     .initial = "60s",
     .least = 1,
     .most = DAY,
     .unit = 1,
     MEMBER(serve.load_timeout_ms)},
    {.name = "serial-load",
     .type = KEY_CHOICE,
     .initial = "no",
     .choices = answers,
     MEMBER(serve.serial_load)},
    {.name = "allow-users", .type = KEY_USERS},
    {.name = "allow-groups", .type = KEY_GROUPS},
    {.name = "weights", .type = KEY_WEIGHTS, .least = 1, .most = MOST_WEIGHT},
};
const unsigned key_count = sizeof(keys) / sizeof(keys[0]);

const struct key *key_find(const char *name)
{
    for (unsigned i = 0; i < key_count; i++)
        if (strcmp(keys[i].name, name) == 0)
            return &keys[i];
    return NULL;
}

/* ---- Words for what is allowed ---- */

static const char *limit(const struct key *key, uint64_t value, char *text)
{
    if (key->type == KEY_SIZE)
        return units_of_size(value, text);
    if (key->type == KEY_DURATION)
        return units_of_duration(value, text);
    snprintf(text, UNITS_TEXT_SIZE, "%" PRIu64, value);
    return text;
}

static const char *kind(const struct key *key)
{
    if (key->power_of_two)
        return "a power of two";
    if (key->type == KEY_SIZE)
        return "a number of bytes, K, M or G";
    return key->type == KEY_DURATION ? "a number of ms, s, m, h or d" : "a number";
}

static void range(const struct key *key, char *text)
{
    char least[UNITS_TEXT_SIZE], most[UNITS_TEXT_SIZE];
    int used =
        snprintf(text, KEY_LIMITS_SIZE, "%s from %s", kind(key), limit(key, key->least, least));
    if (key->most != UINT64_MAX)
        used += snprintf(text + used, (size_t)(KEY_LIMITS_SIZE - used), " to %s",
                         limit(key, key->most, most));
    if (key->zero != NULL)
        snprintf(text + used, (size_t)(KEY_LIMITS_SIZE - used), ", or '%s'", key->zero);
}

/* 'a', 'b' or 'c' */
static void list_choices(const struct key *key, char text[KEY_LIMITS_SIZE])
{
    int used = 0;
    for (int i = 0; key->choices[i] != NULL && used >= 0 && used < KEY_LIMITS_SIZE; i++) {
        const char *before = i == 0 ? "" : key->choices[i + 1] != NULL ? ", " : " or ";
        used += snprintf(text + used, (size_t)(KEY_LIMITS_SIZE - used), "%s'%s'", before,
                         key->choices[i]);
    }
}

const char *key_limits(const struct key *key, char text[KEY_LIMITS_SIZE])
{
    switch (key->type) {
    case KEY_PATH:
        snprintf(text, KEY_LIMITS_SIZE, "a path of 1 to %" PRIu64 " bytes", key->most);
        break;
    case KEY_MODE:
        snprintf(text, KEY_LIMITS_SIZE, "an octal mode from 0000 to %04" PRIo64, key->most);
        break;
    case KEY_USER:
    case KEY_USERS:
        snprintf(text, KEY_LIMITS_SIZE, "a user's name or number");
        break;
    case KEY_GROUP:
    case KEY_GROUPS:
        snprintf(text, KEY_LIMITS_SIZE, "a group's name or number");
        break;
    case KEY_WEIGHTS:
        snprintf(text, KEY_LIMITS_SIZE, "user:N or @group:N with N from %" PRIu64 " to %" PRIu64,
                 key->least, key->most);
        break;
    case KEY_CHOICE:
        list_choices(key, text);
        break;
    case KEY_LOAD:
        snprintf(text, KEY_LIMITS_SIZE,
                 "a load per core from 0.01 to 10, a percentage from 1%% to 10000%%, or '%s'",
                 key->zero);
        break;
    case KEY_NUMBER:
    case KEY_SIZE:
    case KEY_DURATION:
        range(key, text);
        break;
    }
    return text;
}

static int refuse(const struct key *key, const char *text, const char *why)
{
    char limits[KEY_LIMITS_SIZE];
    return error_set(-EINVAL, "%s is '%.80s', which %s; give %s", key->name, text, why,
                     key_limits(key, limits));
}

/* ---- Reading ---- */

static void store(struct settings *settings, const struct key *key, uint64_t value)
{
    void *member = (char *)settings + key->offset;
    CHECK(key->width == sizeof(uint32_t) || key->width == sizeof(uint64_t));
    if (key->width == sizeof(uint32_t))
        *(uint32_t *)member = (uint32_t)value;
    else
        *(uint64_t *)member = value;
}

static void store_text(struct settings *settings, const struct key *key, const char *text)
{
    *(const char **)(void *)((char *)settings + key->offset) = text;
}

static int read_path(struct settings *settings, const struct key *key, const char *text)
{
    if (text[0] == '\0')
        return refuse(key, text, "names nothing");
    if (strlen(text) > key->most)
        return refuse(key, text, "is too long");
    store_text(settings, key, text);
    return 0;
}

static int read_mode(struct settings *settings, const struct key *key, const char *text)
{
    uint64_t mode = 0;
    const char *next = text;
    for (; *next >= '0' && *next <= '7' && mode <= key->most; next++)
        mode = mode * 8 + (uint64_t)(*next - '0');
    if (next == text || *next != '\0' || mode > key->most)
        return refuse(key, text, "is no mode");
    store(settings, key, mode);
    return 0;
}

static int read_number(struct settings *settings, const struct key *key, const char *text)
{
    uint64_t value = 0;
    int result;
    if (key->zero != NULL && strcmp(text, key->zero) == 0) {
        store(settings, key, 0);
        return 0;
    }
    if (key->type == KEY_SIZE)
        result = units_size(text, &value);
    else if (key->type == KEY_DURATION)
        result = units_duration(text, &value);
    else
        result = units_number(text, &value);
    if (result == -EINVAL && key->type == KEY_DURATION && units_number(text, &value) == 0)
        return refuse(key, text, "lacks a unit");
    if (result == -EINVAL)
        return refuse(key, text,
                      key->type == KEY_SIZE       ? "is no size"
                      : key->type == KEY_DURATION ? "is no duration"
                                                  : "is no number");
    if (result == -ERANGE || value > key->most)
        return refuse(key, text, "is too much");
    if (value < key->least)
        return refuse(key, text, "is too little");
    if (key->power_of_two && (value & (value - 1)) != 0)
        return refuse(key, text, "is not one");
    store(settings, key, key->unit > 1 ? (value + key->unit - 1) / key->unit : value);
    return 0;
}

static int read_choice(struct settings *settings, const struct key *key, const char *text)
{
    for (uint64_t i = 0; key->choices[i] != NULL; i++)
        if (strcmp(text, key->choices[i]) == 0) {
            store(settings, key, i);
            return 0;
        }
    return refuse(key, text, "is unknown");
}

static int read_load(struct settings *settings, const struct key *key, const char *text,
                     const char **warning)
{
    struct admission_policy policy;
    if (strcmp(text, key->zero) == 0) {
        store_text(settings, key, NULL);
        return 0;
    }
    if (admission_parse(text, &policy, warning) < 0)
        return refuse(key, text, "is no load");
    store_text(settings, key, text);
    return 0;
}

/* The number of a user or a group. (uid_t)-1 means nobody to the system. Numbers are looked
 * up nowhere: a directory that does not answer would keep the supervisor waiting. */
static int find_id(const struct key *key, bool is_user, const char *text, uint32_t *id)
{
    uint64_t number;
    if (units_number(text, &number) == 0 && number < UINT32_MAX) {
        *id = (uint32_t)number;
        return 0;
    }
    /* There are no threads here. */
    // cppcheck-suppress getpwnamCalled
    const struct passwd *user = is_user ? getpwnam(text) : NULL;
    // cppcheck-suppress getgrnamCalled
    const struct group *group = is_user ? NULL : getgrnam(text);
    if (user != NULL)
        *id = user->pw_uid;
    else if (group != NULL)
        *id = group->gr_gid;
    else
        return refuse(key, text, is_user ? "is no user here" : "is no group here");
    return 0;
}

static int read_owner(struct settings *settings, const struct key *key, const char *text)
{
    uint32_t id = UINT32_MAX;
    int result = text[0] == '\0' ? 0 : find_id(key, key->type == KEY_USER, text, &id);
    if (result == 0)
        store(settings, key, id);
    return result;
}

static int add_id(const struct key *key, bool is_user, const char *text, const uint32_t **ids,
                  uint32_t *count)
{
    uint32_t id = 0;
    int result = find_id(key, is_user, text, &id);
    if (result < 0)
        return result;
    uint32_t *grown = reallocarray((void *)(uintptr_t)*ids, *count + 1, sizeof(**ids));
    if (grown == NULL)
        return error_set(-ENOMEM, "there is no memory for the values of %s", key->name);
    grown[(*count)++] = id;
    *ids = grown;
    return 0;
}

/* www-data:400 or @batch:10. */
static int add_weight(struct settings *settings, const struct key *key, const char *text)
{
    struct serve_options *serve = &settings->serve;
    struct serve_weight entry = {.group = text[0] == '@'};
    const char *colon = strrchr(text, ':');
    char name[80];
    uint64_t weight;
    int length = colon == NULL ? 0 : (int)(colon - text) - entry.group;
    if (length <= 0 || length >= (int)sizeof(name))
        return refuse(key, text, "names nobody");
    snprintf(name, sizeof(name), "%.*s", length, text + entry.group);
    int result = find_id(key, !entry.group, name, &entry.id);
    if (result < 0)
        return result;
    if (units_number(colon + 1, &weight) < 0 || weight < key->least || weight > key->most)
        return refuse(key, text, "has no such weight");
    entry.weight = (uint32_t)weight;
    struct serve_weight *grown =
        reallocarray((void *)(uintptr_t)serve->weights, serve->weight_count + 1, sizeof(*grown));
    if (grown == NULL)
        return error_set(-ENOMEM, "there is no memory for the values of %s", key->name);
    grown[serve->weight_count++] = entry;
    serve->weights = grown;
    return 0;
}

_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t),
               "users and groups have numbers of 32 bits");

int settings_read(struct settings *settings, const struct key *key, const char *text,
                  const char **warning)
{
    struct serve_options *serve = &settings->serve;
    *warning = NULL;
    switch (key->type) {
    case KEY_PATH:
        return read_path(settings, key, text);
    case KEY_MODE:
        return read_mode(settings, key, text);
    case KEY_USER:
    case KEY_GROUP:
        return read_owner(settings, key, text);
    case KEY_CHOICE:
        return read_choice(settings, key, text);
    case KEY_LOAD:
        return read_load(settings, key, text, warning);
    case KEY_USERS:
        return add_id(key, true, text, &serve->users, &serve->user_count);
    case KEY_GROUPS:
        return add_id(key, false, text, &serve->groups, &serve->group_count);
    case KEY_WEIGHTS:
        return add_weight(settings, key, text);
    case KEY_NUMBER:
    case KEY_SIZE:
    case KEY_DURATION:
        break;
    }
    return read_number(settings, key, text);
}

void settings_init(struct settings *settings)
{
    const char *warning;
    memset(settings, 0, sizeof(*settings));
    settings->serve.pool.size = sizeof(settings->serve.pool);
    for (unsigned i = 0; i < key_count; i++)
        if (keys[i].initial != NULL) {
            int result = settings_read(settings, &keys[i], keys[i].initial, &warning);
            CHECK(result == 0);
        }
}

void settings_free(struct settings *settings)
{
    free((void *)(uintptr_t)settings->serve.users);
    free((void *)(uintptr_t)settings->serve.groups);
    free((void *)(uintptr_t)settings->serve.weights);
    settings->serve.users = NULL;
    settings->serve.groups = NULL;
    settings->serve.weights = NULL;
}

bool settings_hold(struct settings *settings, const struct key *key, const struct settings *in_use)
{
    void *member = (char *)settings + key->offset;
    const void *used = (const char *)in_use + key->offset;
    if (!key->fixed)
        return false;
    if (key->type == KEY_PATH) {
        const char *old = *(const char *const *)used;
        bool differs = strcmp(*(const char **)member, old) != 0;
        store_text(settings, key, old);
        return differs;
    }
    bool differs = memcmp(member, used, key->width) != 0;
    memcpy(member, used, key->width);
    return differs;
}
