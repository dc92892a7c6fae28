/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef WEB_OPTIONS_H
#define WEB_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

enum mode_name { SYNC, ASYNC, POOL };

struct options {
    enum mode_name mode;
    const char *listen; /* HOST:PORT; NULL: not over TCP */
    const char *unix_path;
    const char *database; /* conninfo; NULL: none */
    const char *max_load_average;
    const char *access_log;      /* NULL: none; "-": standard output */
    unsigned workers;            /* 0: one per usable core */
    unsigned io_workers;         /* 0: one */
    unsigned connections;        /* to the database, of one process */
    unsigned max_requests;       /* at once */
    unsigned time_limit_ms;      /* of a request, from when it is complete */
    unsigned body_time_limit_ms; /* from when the head is there */
    size_t max_upload;           /* bytes */
};

/* Reads the command line. Returns true when there is something to do;
 * otherwise *status is what the program ends with, after --help or a complaint. */
bool options_read(int argc, char **argv, struct options *options, int *status);

#endif
