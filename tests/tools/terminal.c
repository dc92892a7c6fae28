/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/tools/terminal.h"

#include "base/clock.h"
#include "tests/system/support.h"

#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utmp.h>

/* ---- What a VT52 does --------------------------------------------------------- */

static void erase(struct terminal *terminal, int row, int from)
{
    memset(terminal->cells[row] + from, ' ', (size_t)(SCREEN_COLUMNS - from));
}

static void move_to(struct terminal *terminal, int row, int column)
{
    terminal->row = row < 0 ? 0 : row < terminal->rows ? row : terminal->rows - 1;
    terminal->column = column < 0 ? 0 : column < terminal->columns ? column : terminal->columns - 1;
}

static void line_feed(struct terminal *terminal)
{
    if (terminal->row + 1 < terminal->rows) {
        terminal->row++;
        return;
    }
    memmove(terminal->cells[0], terminal->cells[1],
            sizeof(terminal->cells[0]) * (size_t)(terminal->rows - 1));
    erase(terminal, terminal->rows - 1, 0);
}

static void control(struct terminal *terminal, char byte)
{
    if (byte == '\r')
        terminal->column = 0;
    else if (byte == '\n')
        line_feed(terminal);
    else if (byte == '\b')
        move_to(terminal, terminal->row, terminal->column - 1);
    else if (byte == '\t')
        move_to(terminal, terminal->row, terminal->column / 8 * 8 + 8);
    else if (byte == '\033')
        terminal->escape = 1;
}

static void escaped(struct terminal *terminal, char byte)
{
    terminal->escape = 0;
    switch (byte) {
    case 'A':
        move_to(terminal, terminal->row - 1, terminal->column);
        break;
    case 'B':
        move_to(terminal, terminal->row + 1, terminal->column);
        break;
    case 'C':
        move_to(terminal, terminal->row, terminal->column + 1);
        break;
    case 'D':
        move_to(terminal, terminal->row, terminal->column - 1);
        break;
    case 'H':
        move_to(terminal, 0, 0);
        break;
    case 'J':
        for (int row = terminal->row + 1; row < SCREEN_ROWS; row++)
            erase(terminal, row, 0);
        erase(terminal, terminal->row, terminal->column);
        break;
    case 'K':
        erase(terminal, terminal->row, terminal->column);
        break;
    case 'Y':
        terminal->escape = 2;
        break;
    default:
        break;
    }
}

static void take(struct terminal *terminal, char byte)
{
    if (terminal->escape == 1) {
        escaped(terminal, byte);
    } else if (terminal->escape == 2) { /* ESC Y, then row and column */
        terminal->row = (unsigned char)byte - ' ';
        terminal->escape = 3;
    } else if (terminal->escape == 3) {
        move_to(terminal, terminal->row, (unsigned char)byte - ' ');
        terminal->escape = 0;
    } else if ((unsigned char)byte < ' ') {
        control(terminal, byte);
    } else {
        terminal->cells[terminal->row][terminal->column] = byte;
        move_to(terminal, terminal->row, terminal->column + 1);
    }
}

/* ---- The program ---------------------------------------------------------------- */

void terminal_start(struct terminal *terminal, int rows, int columns, const char *type,
                    const char *no_color, char *const argv[])
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    *terminal = (struct terminal){.rows = rows, .columns = columns};
    for (int row = 0; row < SCREEN_ROWS; row++)
        erase(terminal, row, 0);
    ck_assert_int_eq(openpty(&terminal->fd, &terminal->other_end, NULL, NULL, &size), 0);
    ck_assert_int_eq(tcgetattr(terminal->other_end, &terminal->before), 0);
    terminal->pid = fork();
    if (terminal->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        setenv("TERM", type, 1);
        unsetenv("NO_COLOR");
        if (no_color != NULL)
            setenv("NO_COLOR", no_color, 1);
        unsetenv("LINES");
        unsetenv("COLUMNS");
        close(terminal->fd);
        login_tty(terminal->other_end);
        execv(argv[0], argv);
        _exit(127);
    }
}

void terminal_read(struct terminal *terminal, int ms)
{
    uint64_t began = clock_ns();
    int left = ms;
    do {
        struct pollfd waited = {.fd = terminal->fd, .events = POLLIN};
        char bytes[4096];
        if (poll(&waited, 1, left) != 1)
            return;
        ssize_t size = read(terminal->fd, bytes, sizeof(bytes));
        for (ssize_t i = 0; i < size; i++) {
            take(terminal, bytes[i]);
            if (terminal->written + 1 < WRITTEN_SIZE)
                terminal->output[terminal->written++] = bytes[i];
        }
        left = ms - (int)ms_since(began);
    } while (left > 0);
}

static bool is_there(const struct terminal *terminal, const char *text)
{
    for (int row = 0; row < terminal->rows; row++)
        if (strstr(terminal->cells[row], text) != NULL)
            return true;
    return false;
}

static bool await(struct terminal *terminal, const char *text, bool there)
{
    uint64_t began = clock_ns();
    while (is_there(terminal, text) != there && ms_since(began) < BOUND_MS)
        terminal_read(terminal, 20);
    return is_there(terminal, text) == there;
}

bool terminal_shows(struct terminal *terminal, const char *text)
{
    return await(terminal, text, true);
}

bool terminal_hides(struct terminal *terminal, const char *text)
{
    return await(terminal, text, false);
}

void terminal_print(const struct terminal *terminal)
{
    for (int row = 0; row < terminal->rows; row++)
        fprintf(stderr, "|%.*s|\n", terminal->columns, terminal->cells[row]);
}

void terminal_type(struct terminal *terminal, const char *keys)
{
    ck_assert_int_eq(write(terminal->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

void terminal_resize(struct terminal *terminal, int rows, int columns)
{
    struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    terminal->rows = rows;
    terminal->columns = columns;
    ck_assert_int_eq(ioctl(terminal->fd, TIOCSWINSZ, &size), 0);
}

int terminal_end(struct terminal *terminal)
{
    uint64_t began = clock_ns();
    int status = -1;
    while (waitpid(terminal->pid, &status, WNOHANG) == 0) {
        if (ms_since(began) > BOUND_MS)
            kill(terminal->pid, SIGKILL);
        terminal_read(terminal, 20);
    }
    terminal_read(terminal, 0);
    return status;
}

bool terminal_is_restored(const struct terminal *terminal)
{
    struct termios now;
    ck_assert_int_eq(tcgetattr(terminal->other_end, &now), 0);
    return now.c_lflag == terminal->before.c_lflag && now.c_iflag == terminal->before.c_iflag &&
           now.c_oflag == terminal->before.c_oflag;
}

void terminal_close(struct terminal *terminal)
{
    close(terminal->fd);
    close(terminal->other_end);
}
