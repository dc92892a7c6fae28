/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What lies at an address of another process: function, file and line, as far as its
 * executables and their debug information say. By elfutils' libdw.
 */
#ifndef TOOLS_SYMBOLS_H
#define TOOLS_SYMBOLS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct symbols;

/* What is known; NULL and 0 for what is not. Texts live until symbols_close(). */
struct symbol {
    const char *module; /* the file's name, without its directory */
    const char *function;
    uint64_t offset; /* in the function, else in the module */
    const char *file;
    int line;
};

/* NULL with a message when that process's memory map cannot be read, for instance
 * because it belongs to somebody else. */
struct symbols *symbols_open(pid_t pid);
void symbols_close(struct symbols *symbols); /* NULL is allowed */

/* With returns the address is one that a call returns to: the line is that of the call. */
struct symbol symbols_find(struct symbols *symbols, uint64_t address, bool returns);

#endif
