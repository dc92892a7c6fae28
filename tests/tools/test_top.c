/* SPDX-License-Identifier: BSD-3-Clause
 *
 * multicore top, on a terminal and as text, beside a pool whose workers are busy, stuck or
 * gone.
 */
#include "base/clock.h"
#include "tests/system/server.h"
#include "tests/tools/terminal.h"

#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#define ESCAPE "\033"
#define DOWN   "\033B" /* of a VT52 */

enum { FOREVER_MS = 600000 };

static struct server server;
static struct terminal terminal;
static mc_pool *pool;
static mc_group *group;

static void begin(void)
{
    server_prepare(&server);
    server_start(&server);
    pool = attach(&server, NULL, 0);
    group = open_unhelped(pool);
}

static void end(void)
{
    mc_pool_close(pool);
    server_kill(&server);
    server_remove(&server);
}

static void doze(unsigned ms)
{
    run(group, "doze", &ms, sizeof(ms));
}

/* Both workers, for longer than any test is. */
static void stick(void)
{
    doze(FOREVER_MS);
    doze(FOREVER_MS);
}

static void start_with(int rows, int columns, const char *type, const char *no_color)
{
    char *argv[] = {PROGRAM, "top", "--delay", "0.1", "--socket", server.path, NULL};
    terminal_start(&terminal, rows, columns, type, no_color, argv);
}

static void start(int rows, int columns)
{
    start_with(rows, columns, "vt52", NULL);
}

static void shows(const char *text)
{
    if (!terminal_shows(&terminal, text)) {
        terminal_print(&terminal);
        ck_abort_msg("'%s' is not shown", text);
    }
}

static void hides(const char *text)
{
    if (!terminal_hides(&terminal, text)) {
        terminal_print(&terminal);
        ck_abort_msg("'%s' is shown still", text);
    }
}

/* The line that is so far below the first one with this text. */
static const char *below(const char *text, int lines)
{
    int row = 0;
    shows(text);
    while (row + 1 < terminal.rows && strstr(terminal.cells[row], text) == NULL)
        row++;
    return terminal.cells[row + lines < terminal.rows ? row + lines : row];
}

static void is_first(const char *titles, const char *text)
{
    uint64_t began = clock_ns();
    while (strstr(below(titles, 1), text) == NULL && ms_since(began) < BOUND_MS)
        terminal_read(&terminal, 20);
    ck_assert_msg(strstr(below(titles, 1), text) != NULL, "'%s' is not first", text);
}

static int worker_at(int place)
{
    int seat = -1, pid = -1;
    ck_assert_int_eq(sscanf(below("SEAT", place), "%d %d", &seat, &pid), 2);
    return pid;
}

static void types(const char *keys)
{
    terminal_type(&terminal, keys);
}

static void ends_well(void)
{
    int status = terminal_end(&terminal);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", (unsigned)status);
    ck_assert_msg(terminal_is_restored(&terminal), "the terminal is not as it was");
    terminal_close(&terminal);
}

static void quit(void)
{
    types("q");
    ends_well();
}

START_TEST(it_shows_workers_clients_and_handlers)
{
    begin();
    stick();
    start(24, 80);
    shows("pool /tmp/");
    shows("workers 2/2, 2 busy");
    shows("1 Workers: 2   2 Clients: 1   3 Handlers: 7");
    shows("doze");
    types("2");
    shows("COMMAND");
    types("\t");
    shows("RUN99");
    shows("greeting");
    types("h");
    shows("Keys of multicore top");
    types(" ");
    hides("Keys of multicore top");
    quit();
    end();
}
END_TEST

START_TEST(keys_sort_and_filter)
{
    begin();
    start(24, 80);
    shows("1 Workers: 2");
    types("3/ree\r");
    shows("3 Handlers: 1 of 7 with 'ree'");
    hides("again");
    types("/" ESCAPE);
    shows("3 Handlers: 7");
    shows("again");
    types("<"); /* from the first column to the last, which is the name */
    is_first("TASKS/S", "again");
    types("r");
    is_first("TASKS/S", "version");
    quit();
    end();
}
END_TEST

START_TEST(keys_sort_tables_that_were_never_drawn)
{
    begin();
    start(24, 80);
    shows("1 Workers: 2");
    types("3<"); /* at once */
    is_first("TASKS/S", "again");
    quit();
    start(6, 80);
    shows("workers 2/2");
    hides("SEAT");
    types("<");
    terminal_resize(&terminal, 24, 80);
    shows("SEAT");
    quit();
    end();
}
END_TEST

START_TEST(the_delay_can_be_changed_and_time_stopped)
{
    begin();
    start(24, 80);
    shows("1 Workers: 2");
    types("d5\r");
    types("d");
    shows("now 5 s");
    types("never\r");
    shows("'never' is no delay: give seconds");
    types("d0.2\r");
    types(" ");
    shows("PAUSED");
    stick();
    terminal_read(&terminal, 500);
    shows("0 busy");
    types(" ");
    hides("PAUSED");
    shows("2 busy");
    quit();
    end();
}
END_TEST

static void asks_for(int pid)
{
    char question[64];
    snprintf(question, sizeof(question), "Kill worker %d, and end its task with it? y/n", pid);
    shows(question);
}

START_TEST(the_cursor_stays_with_its_row)
{
    begin();
    stick();
    start(24, 80);
    shows("2 busy");
    int first = worker_at(1), second = worker_at(2);
    types("k");
    asks_for(first);
    types("n" DOWN "k");
    asks_for(second);
    types("nr"); /* it is the first now */
    char pid[16];
    snprintf(pid, sizeof(pid), " %d ", second);
    is_first("SEAT", pid);
    types("k");
    asks_for(second);
    types("n");
    quit();
    end();
}
END_TEST

START_TEST(a_stuck_worker_is_killed_when_that_is_confirmed)
{
    struct mc_result result = {.size = sizeof(result)};
    begin();
    doze(FOREVER_MS);
    start(24, 80);
    shows("1 busy");
    types("sss"); /* by state: it is the first */
    types("e");
    shows("is asked to stop");
    is_first("SEAT", " busy ");
    int pid = worker_at(1);
    types("k");
    asks_for(pid);
    types("n");
    shows("is left alone");
    ck_assert_int_eq(kill(pid, 0), 0);
    types("ky");
    shows("is killed, and replaced");
    ck_assert_int_eq(mc_group_next(group, &result, BOUND_MS), 1);
    ck_assert_int_lt(result.status, 0);
    shows("workers 2/2, 0 busy");
    types("k");
    shows("runs no task");
    types("3k");
    shows("select a worker first");
    quit();
    end();
}
END_TEST

START_TEST(it_fits_any_size)
{
    begin();
    stick();
    start(40, 100);
    shows("3 Handlers: 7");
    shows("COMMAND"); /* all three at once */
    shows("TASKS/S");
    terminal_resize(&terminal, 24, 40);
    hides("COMMAND");
    shows("STATE");
    hides("PRIVATE");
    terminal_resize(&terminal, 3, 10);
    hides("STATE");
    shows("pool /tmp/");
    terminal_resize(&terminal, 1, 1);
    terminal_read(&terminal, 300);
    terminal_resize(&terminal, 50, 150);
    shows("COMMAND");
    shows("PRIVATE");
    quit();
    end();
}
END_TEST

START_TEST(a_pool_that_goes_away_is_looked_for)
{
    begin();
    start(24, 80);
    shows("workers 2/2");
    mc_pool_close(pool);
    server_kill(&server);
    shows("Looked for again every 0.1 s");
    shows("no pool listens at");
    shows("1 Workers: 0");
    server_start(&server);
    shows("workers 2/2");
    hides("no pool listens at");
    quit();
    server_kill(&server);
    server_remove(&server);
}
END_TEST

START_TEST(signals_leave_the_terminal_as_it_was)
{
    static const int numbers[] = {SIGINT, SIGQUIT, SIGTERM, SIGHUP};
    begin();
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
        start(24, 80);
        shows("1 Workers: 2");
        ck_assert(!terminal_is_restored(&terminal));
        ck_assert_int_eq(kill(terminal.pid, numbers[i]), 0);
        ends_well();
    }
    end();
}
END_TEST

START_TEST(colours_are_left_out_on_request)
{
    static const char *const colours[] = {"\033[31m", "\033[32m", "\033[33m"};
    begin();
    stick();
    start_with(24, 80, "linux", NULL);
    for (int i = 0; i < 100 && strstr(terminal.output, colours[1]) == NULL; i++)
        terminal_read(&terminal, 100);
    ck_assert_ptr_nonnull(strstr(terminal.output, colours[1]));
    quit();
    start_with(24, 80, "linux", "1");
    for (int i = 0; i < 100 && strstr(terminal.output, "busy") == NULL; i++)
        terminal_read(&terminal, 100);
    quit();
    for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++)
        ck_assert_ptr_null(strstr(terminal.output, colours[i]));
    end();
}
END_TEST

START_TEST(a_terminal_of_unknown_type_is_told)
{
    begin();
    start_with(24, 80, "nonesuch", NULL);
    ck_assert_int_eq(WEXITSTATUS(terminal_end(&terminal)), 1);
    ck_assert_ptr_nonnull(strstr(terminal.output, "the terminal type 'nonesuch' is not known"));
    terminal_close(&terminal);
    end();
}
END_TEST

/* What `multicore top` prints into a pipe. */
static const char *printed(const char *arguments)
{
    static char text[65536];
    char line[512];
    snprintf(line, sizeof(line), "%s top --socket %s %s 2>&1", PROGRAM, server.path, arguments);
    FILE *pipe = popen(line, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t size = fread(text, 1, sizeof(text) - 1, pipe);
    text[size] = '\0';
    ck_assert_int_eq(pclose(pipe), 0);
    return text;
}

static size_t times(const char *text, const char *part)
{
    size_t found = 0;
    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        found++;
    return found;
}

START_TEST(text_tells_what_ran_and_that_all_workers_are_stuck)
{
    begin();
    for (int i = 0; i < 5; i++)
        doze(1);
    wait_all(group);
    stick();
    for (int i = 0; i < 3; i++)
        doze(FOREVER_MS);
    const char *text = printed("-n 2 -d 300ms");
    ck_assert_uint_eq(times(text, "pool /tmp/"), 2);
    ck_assert_ptr_nonnull(strstr(text, "workers 2/2, 2 busy"));
    ck_assert_ptr_nonnull(strstr(text, "waiting 3"));
    ck_assert_ptr_nonnull(strstr(text, "I-R   doze\n"));
    ck_assert_ptr_nonnull(strstr(text, "test_top\n")); /* the client is this test */
    end();
}
END_TEST

TEST_MAIN(top, it_shows_workers_clients_and_handlers, keys_sort_and_filter,
          keys_sort_tables_that_were_never_drawn, the_delay_can_be_changed_and_time_stopped,
          the_cursor_stays_with_its_row, a_stuck_worker_is_killed_when_that_is_confirmed,
          it_fits_any_size, a_pool_that_goes_away_is_looked_for,
          signals_leave_the_terminal_as_it_was, colours_are_left_out_on_request,
          a_terminal_of_unknown_type_is_told, text_tells_what_ran_and_that_all_workers_are_stuck)
