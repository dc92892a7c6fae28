/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The supervisor's log: one writer that never waits, and a reader that may lose
 * the oldest records, but never sees a wrong one.
 */
#include "multicore.h"
#include "pool/log.h"
#include "tests/test.h"

#include <stdio.h>
#include <string.h>

static struct control *control;
static uint64_t cursor;
static char text[LOG_TEXT_SIZE];

static void begin(void)
{
    control = aligned_alloc(PAGE_SIZE_BYTES, sizeof(*control));
    ck_assert_ptr_nonnull(control);
    memset(control, 0, sizeof(*control));
    cursor = 0;
}

static void expect(int level, const char *line)
{
    ck_assert_int_eq(log_read(control, &cursor, text), level);
    ck_assert_str_eq(text, line);
}

static void expect_nothing(void)
{
    ck_assert_int_eq(log_read(control, &cursor, text), 0);
}

static void write_numbers(int from, int to)
{
    for (int i = from; i < to; i++)
        log_write(control, MC_LOG_INFO, "line %d", i);
}

static void expect_number(int number)
{
    char line[32];
    snprintf(line, sizeof(line), "line %d", number);
    expect(MC_LOG_INFO, line);
}

START_TEST(an_empty_log_has_nothing_to_say)
{
    begin();
    expect_nothing();
    ck_assert_uint_eq(cursor, 0);
    free(control);
}
END_TEST

START_TEST(lines_come_in_order_with_their_levels)
{
    begin();
    log_write(control, MC_LOG_ERROR, "seat %d is %s", 3, "empty");
    log_write(control, MC_LOG_WARNING, "%s", "100 %");
    expect(MC_LOG_ERROR, "seat 3 is empty");
    expect(MC_LOG_WARNING, "100 %");
    expect_nothing();
    log_write(control, MC_LOG_INFO, "later");
    expect(MC_LOG_INFO, "later");
    expect_nothing();
    free(control);
}
END_TEST

START_TEST(a_line_says_nothing_to_a_terminal)
{
    begin();
    log_write(control, MC_LOG_INFO, "%s", "a\n\x1b[2J\x7f \xc2\x9b\xc2\x80 \xc3\x9b \xe2\x82\xac");
    expect(MC_LOG_INFO, "a??[2J? \xc2?\xc2? \xc3\x9b \xe2\x82\xac");
    free(control);
}
END_TEST

START_TEST(a_long_line_is_cut)
{
    begin();
    char line[2 * LOG_TEXT_SIZE];
    memset(line, 'x', sizeof(line) - 1);
    line[sizeof(line) - 1] = '\0';
    log_write(control, MC_LOG_INFO, "%s", line);
    ck_assert_int_eq(log_read(control, &cursor, text), MC_LOG_INFO);
    ck_assert_uint_eq(strlen(text), LOG_TEXT_SIZE - 1);
    free(control);
}
END_TEST

START_TEST(a_full_log_loses_nothing)
{
    begin();
    write_numbers(0, LOG_RECORDS);
    for (int i = 0; i < LOG_RECORDS; i++)
        expect_number(i);
    expect_nothing();
    free(control);
}
END_TEST

START_TEST(an_overrun_loses_the_oldest_lines_only)
{
    for (int more = 1; more <= 3 * LOG_RECORDS; more += 13) {
        begin();
        write_numbers(0, LOG_RECORDS + more);
        for (int i = more; i < LOG_RECORDS + more; i++)
            expect_number(i);
        expect_nothing();
        free(control);
    }
}
END_TEST

START_TEST(a_reader_that_fell_behind_catches_up)
{
    begin();
    write_numbers(0, 10);
    expect_number(0);
    write_numbers(10, 2 * LOG_RECORDS);
    for (int i = LOG_RECORDS; i < 2 * LOG_RECORDS; i++)
        expect_number(i);
    expect_nothing();
    free(control);
}
END_TEST

START_TEST(a_line_that_is_being_overwritten_is_skipped)
{
    begin();
    write_numbers(0, 3);
    atomic_store(&control->log[1].sequence, 0);
    expect_number(0);
    expect_number(2);
    expect_nothing();
    free(control);
}
END_TEST

START_TEST(a_line_of_a_later_lap_is_not_taken_for_an_older_one)
{
    begin();
    write_numbers(0, 3);
    atomic_store(&control->log[0].sequence, LOG_RECORDS + 1);
    expect_number(1);
    expect_number(2);
    free(control);
}
END_TEST

START_TEST(the_reader_ends_every_line_itself)
{
    begin();
    write_numbers(0, 1);
    memset(control->log[0].text, 'y', LOG_TEXT_SIZE);
    ck_assert_int_eq(log_read(control, &cursor, text), MC_LOG_INFO);
    ck_assert_uint_eq(strlen(text), LOG_TEXT_SIZE - 1);
    free(control);
}
END_TEST

TEST_MAIN(log, an_empty_log_has_nothing_to_say, lines_come_in_order_with_their_levels,
          a_line_says_nothing_to_a_terminal, a_long_line_is_cut, a_full_log_loses_nothing,
          an_overrun_loses_the_oldest_lines_only, a_reader_that_fell_behind_catches_up,
          a_line_that_is_being_overwritten_is_skipped,
          a_line_of_a_later_lap_is_not_taken_for_an_older_one, the_reader_ends_every_line_itself)
