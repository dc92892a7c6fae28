/* SPDX-License-Identifier: BSD-3-Clause
 *
 * A terminal for a program under test, as simple as they were in 1975: it understands what
 * a VT52 does, and so knows what is to be seen on its screen. Other types can be given
 * too; then only what was written is of use.
 */
#ifndef TESTS_TOOLS_TERMINAL_H
#define TESTS_TOOLS_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <termios.h>

enum { SCREEN_ROWS = 60, SCREEN_COLUMNS = 160, WRITTEN_SIZE = 1 << 20 };

struct terminal {
    int fd;
    int other_end; /* kept open, so that modes can be asked for after the program's end */
    pid_t pid;
    int rows, columns;
    int row, column, escape; /* of the cursor; how far into a sequence we are */
    char cells[SCREEN_ROWS][SCREEN_COLUMNS + 1];
    struct termios before; /* the modes at the start */
    size_t written;
    char output[WRITTEN_SIZE]; /* all that was written */
};

/* Runs argv[0] there, with TERM and, if it is not NULL, NO_COLOR. */
void terminal_start(struct terminal *terminal, int rows, int columns, const char *type,
                    const char *no_color, char *const argv[]);
void terminal_type(struct terminal *terminal, const char *keys);
void terminal_resize(struct terminal *terminal, int rows, int columns);

/* Whether the screen shows the text, or at once does so no more, within BOUND_MS. */
bool terminal_shows(struct terminal *terminal, const char *text);
bool terminal_hides(struct terminal *terminal, const char *text);
/* Reads what comes for so long. */
void terminal_read(struct terminal *terminal, int ms);
void terminal_print(const struct terminal *terminal);

/* Waits until the program has ended; its status as waitpid() has it. */
int terminal_end(struct terminal *terminal);
/* Whether the modes are those of the start. */
bool terminal_is_restored(const struct terminal *terminal);
void terminal_close(struct terminal *terminal);

#endif
