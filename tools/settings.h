/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What can be configured: one table of keys, and the values that they set. Reading,
 * checking, printing and the tests of the manual page all go by this table.
 */
#ifndef TOOLS_SETTINGS_H
#define TOOLS_SETTINGS_H

#include "pool/serve.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum key_type {
    KEY_PATH,
    KEY_MODE,
    KEY_USER,
    KEY_GROUP,
    KEY_NUMBER,
    KEY_CHOICE,
    KEY_LOAD, /* as max_load_average of struct mc_pool_options */
    KEY_SIZE,
    KEY_DURATION,
    KEY_USERS, /* these two are lists, */
    KEY_GROUPS,
    KEY_WEIGHTS, /* and this one */
};

/* The values of a configuration. */
struct settings {
    struct serve_options serve; /* without modules, listener and callbacks */
    const char *socket;
    uint32_t socket_mode;
    uid_t socket_user; /* (uid_t)-1: whoever runs the server */
    gid_t socket_group;
};

struct key {
    const char *name;
    enum key_type type;
    const char *initial;        /* the default, as it would be written; NULL for lists */
    const char *zero;           /* the word that stands for 0, or NULL */
    uint64_t least, most;       /* apart from that word; in bytes or milliseconds */
    uint64_t unit;              /* of the member, in milliseconds */
    bool power_of_two;          /* no other number */
    bool fixed;                 /* cannot change while the pool runs */
    const char *const *choices; /* in the order of their values; ends with NULL */
    size_t offset, width;       /* of the member of struct settings; lists: go by type */
};

extern const struct key keys[];
extern const unsigned key_count;

/* NULL if there is none. */
const struct key *key_find(const char *name);
static inline bool key_is_list(const struct key *key)
{
    return key->type == KEY_USERS || key->type == KEY_GROUPS || key->type == KEY_WEIGHTS;
}

/* What a value may be, as in "a power of two from 16 to 65536". Returns text. */
enum { KEY_LIMITS_SIZE = 160 };
const char *key_limits(const struct key *key, char text[KEY_LIMITS_SIZE]);

/* Gives settings the defaults. */
void settings_init(struct settings *settings);
/* The arrays; texts that were read belong to the caller. */
void settings_free(struct settings *settings);
/* Reads a value into settings, or adds it to a list. It keeps text for paths and the
 * load. -EINVAL with a message that names the value, what is allowed, and the way
 * out; *warning is a sentence or NULL. */
int settings_read(struct settings *settings, const struct key *key, const char *text,
                  const char **warning);
/* Whether a reload changes something that it cannot. If so, settings keeps the value
 * of those in use. */
bool settings_hold(struct settings *settings, const struct key *key, const struct settings *in_use);

#endif
