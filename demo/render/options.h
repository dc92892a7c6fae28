/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef RENDER_OPTIONS_H
#define RENDER_OPTIONS_H

#include <stdbool.h>

struct options {
    const char *path; /* NULL with a scene */
    const char *out;
    const char *max_load_average;
    unsigned dpi;
    unsigned workers;    /* 0: one per usable core */
    unsigned crash_page; /* 0: none */
    bool serial;
    bool trust;
    bool compare;
    bool scene_users;
};

/* Reads the command line. Returns true when there is something to do;
 * otherwise *status is what the program ends with, after --help or a complaint. */
bool options_read(int argc, char **argv, struct options *options, int *status);

#endif
