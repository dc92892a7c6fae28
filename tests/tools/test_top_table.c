/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The tables of multicore top: order, filter, columns by width, and numbers in little room.
 */
#include "tests/test.h"
#include "tools/top_table.h"

#include <string.h>

struct animal {
    const char *name;
    double legs, weight;
};

enum { NAME, LEGS, WEIGHT, NOTE, COLUMNS };

static const struct table_column columns[COLUMNS] = {
    [NAME] = {"NAME", 6, 0, 0, COLUMN_TEXT | COLUMN_SOUGHT},
    [LEGS] = {"LEGS", 4, 2, NUMBER_PLAIN, COLUMN_ASCENDING},
    [WEIGHT] = {"WEIGHT", 7, 1, NUMBER_COUNT, 0},
    [NOTE] = {"NOTE", 5, 0, 0, COLUMN_TEXT},
};

static struct table_value value(const void *row, uint32_t column)
{
    const struct animal *animal = row;
    switch (column) {
    case LEGS:
        return (struct table_value){.number = animal->legs};
    case WEIGHT: /* as the scales have it, which end there */
        return (struct table_value){.number = animal->weight, .more = animal->weight == 7e6};
    default:
        return (struct table_value){.text = column == NAME ? animal->name : "a\tnote\xff"};
    }
}

static const struct animal animals[] = {
    {"goose", 2, 4}, {"cow", 4, 600}, {"hen", 2, 2}, {"snake", 0, 1}, {"Horse", 4, 600}};
enum { ANIMALS = sizeof(animals) / sizeof(animals[0]) };

static struct table table_sorted_by(uint32_t sort)
{
    return (struct table){.title = "Animals",
                          .columns = columns,
                          .column_count = COLUMNS,
                          .row_size = sizeof(animals[0]),
                          .value = value,
                          .sort = sort};
}

/* The names that are shown, in order. */
static void shows(struct table *table, const char *expected)
{
    char names[256] = "";
    table_arrange(table, animals, ANIMALS);
    for (uint32_t i = 0; i < table->shown_count; i++) {
        strcat(names, i == 0 ? "" : " ");
        strcat(names, ((const struct animal *)table_row(table, i))->name);
    }
    ck_assert_str_eq(names, expected);
}

START_TEST(numbers_sort_from_the_greatest_unless_the_column_ascends)
{
    struct table table = table_sorted_by(WEIGHT);
    shows(&table, "cow Horse goose hen snake");
    table.reversed = true;
    shows(&table, "snake hen goose cow Horse");
    table = table_sorted_by(LEGS);
    shows(&table, "snake goose hen cow Horse");
    table.reversed = true;
    shows(&table, "cow Horse goose hen snake");
}
END_TEST

START_TEST(texts_sort_by_their_letters)
{
    struct table table = table_sorted_by(NAME);
    shows(&table, "Horse cow goose hen snake");
}
END_TEST

START_TEST(a_filter_looks_where_it_should_without_regard_to_case)
{
    struct table table = table_sorted_by(NAME);
    strcpy(table.filter, "hO");
    shows(&table, "Horse");
    ck_assert_uint_eq(table.row_count, ANIMALS);
    strcpy(table.filter, "e");
    shows(&table, "Horse goose hen snake");
    strcpy(table.filter, "600"); /* not in a column that is sought */
    shows(&table, "");
}
END_TEST

START_TEST(a_row_is_found_again_after_sorting)
{
    struct table table = table_sorted_by(NAME);
    table_arrange(&table, animals, ANIMALS);
    uint64_t key = table_key(&table, 2);
    ck_assert_uint_eq(key, 0); /* of the goose, which comes first of all */
    table.sort = WEIGHT;
    table_arrange(&table, animals, ANIMALS);
    ck_assert_uint_eq(table_place(&table, key, 9), 2);
    strcpy(table.filter, "h");
    table_arrange(&table, animals, ANIMALS);
    ck_assert_uint_eq(table_place(&table, key, 9), 1); /* it is not shown: the last */
    ck_assert_uint_eq(table_place(&table, key, 0), 0);
    table_arrange(&table, animals, 0);
    ck_assert_uint_eq(table_place(&table, key, 9), 0);
}
END_TEST

START_TEST(no_more_rows_than_there_is_room_for)
{
    static struct animal many[TABLE_ROWS + 5];
    struct table table = table_sorted_by(WEIGHT);
    for (int i = 0; i < TABLE_ROWS + 5; i++)
        many[i] = animals[i % ANIMALS];
    table_arrange(&table, many, TABLE_ROWS + 5);
    ck_assert_uint_eq(table.shown_count, TABLE_ROWS);
}
END_TEST

static void fits(uint32_t sort, uint32_t width, const char *titles)
{
    struct table table = table_sorted_by(sort);
    uint32_t widths[TABLE_COLUMNS];
    char line[LINE_SIZE];
    table_fit(&table, width, widths);
    table_line(&table, NULL, widths, line);
    ck_assert_msg(strcmp(line, titles) == 0, "%u: '%s'", width, line);
}

START_TEST(columns_go_by_priority_when_it_gets_narrow)
{
    fits(NAME, 80, "NAME   LEGS  WEIGHT NOTE");
    fits(NAME, 25, "NAME   LEGS  WEIGHT NOTE");
    fits(NAME, 24, "NAME    WEIGHT NOTE");
    fits(NAME, 19, "NAME   NOTE");
    fits(NAME, 3, "NAME   NOTE"); /* two that never go */
    fits(LEGS, 24, "NAME   LEGS NOTE");
    fits(LEGS, 16, "NAME   LEGS NOTE"); /* what it is sorted by stays */
}
END_TEST

START_TEST(sorting_goes_on_to_columns_that_are_seen)
{
    struct table table = table_sorted_by(NAME);
    uint32_t widths[TABLE_COLUMNS];
    table_fit(&table, 24, widths);
    table_sort_by(&table, widths, 1);
    ck_assert_uint_eq(table.sort, WEIGHT);
    table_sort_by(&table, widths, 1);
    table_sort_by(&table, widths, 1);
    ck_assert_uint_eq(table.sort, NAME);
    table_sort_by(&table, widths, -1);
    ck_assert_uint_eq(table.sort, NOTE);
    ck_assert_uint_eq(table_offset(widths, WEIGHT), 7);
    memset(widths, 0, sizeof(widths));
    table_sort_by(&table, widths, 1);
    ck_assert_uint_eq(table.sort, NOTE);
}
END_TEST

START_TEST(a_line_is_cut_and_clean)
{
    struct table table = table_sorted_by(NAME);
    uint32_t widths[TABLE_COLUMNS];
    char line[LINE_SIZE];
    struct animal elephant = {"elephant", 4, 5e6};
    table_arrange(&table, &elephant, 1);
    table_fit(&table, 80, widths);
    table_line(&table, table_row(&table, 0), widths, line);
    ck_assert_str_eq(line, "elepha    4   5.00M a?note?");
    table_fit(&table, 25, widths);
    table_line(&table, table_row(&table, 0), widths, line);
    ck_assert_str_eq(line, "elepha    4   5.00M a?not");
    elephant.legs = 9999;
    table_line(&table, table_row(&table, 0), widths, line);
    ck_assert_str_eq(line, "elepha 9999   5.00M a?not");
    elephant.weight = 7e6;
    table_line(&table, table_row(&table, 0), widths, line);
    ck_assert_str_eq(line, "elepha 9999  >7.00M a?not");
    elephant.weight = 5e6;
    elephant.legs = 12345;
    table_line(&table, table_row(&table, 0), widths, line);
    ck_assert_str_eq(line, "elepha ####   5.00M a?not");
}
END_TEST

static void shared(uint32_t lines, const uint32_t needs[3], uint32_t a, uint32_t b, uint32_t c)
{
    uint32_t shares[3];
    table_share(lines, needs, shares, 3);
    ck_assert_uint_eq(shares[0], a);
    ck_assert_uint_eq(shares[1], b);
    ck_assert_uint_eq(shares[2], c);
}

START_TEST(lines_that_some_do_not_need_go_to_others)
{
    shared(30, (const uint32_t[]){2, 3, 4}, 2, 3, 4);
    shared(30, (const uint32_t[]){2, 3, 400}, 2, 3, 25);
    shared(30, (const uint32_t[]){100, 3, 400}, 17, 3, 10);
    shared(30, (const uint32_t[]){100, 100, 100}, 10, 10, 10);
    shared(2, (const uint32_t[]){1, 1, 1}, 1, 1, 0);
    shared(0, (const uint32_t[]){1, 1, 1}, 0, 0, 0);
}
END_TEST

static void written(enum number_kind kind, double value, const char *expected)
{
    char text[UNITS_TEXT_SIZE];
    ck_assert_str_eq(number_write(kind, value, text), expected);
}

START_TEST(numbers_have_three_figures_and_a_unit)
{
    written(NUMBER_PLAIN, -1, "-");
    written(NUMBER_PLAIN, 4194304, "4194304");
    written(NUMBER_COUNT, 0, "0");
    written(NUMBER_COUNT, 99999, "99999");
    written(NUMBER_COUNT, 100000, "100k");
    written(NUMBER_COUNT, 999499, "999k");
    written(NUMBER_COUNT, 999500, "1.00M");
    written(NUMBER_COUNT, 1234567, "1.23M");
    written(NUMBER_COUNT, 98.7e9, "98.7G");
    written(NUMBER_RATE, 0, "0");
    written(NUMBER_RATE, 0.04, "0.0");
    written(NUMBER_RATE, 99.94, "99.9");
    written(NUMBER_RATE, 99.96, "100");
    written(NUMBER_TIME, 0, "-");
    written(NUMBER_TIME, 850, "850ns");
    written(NUMBER_TIME, 1234567, "1.23ms");
    written(NUMBER_TIME, 90e9, "1m30s");
    written(NUMBER_TIME, 100 * 86400e9, "100d00h");
    written(NUMBER_BYTES, 0, "-");
    written(NUMBER_BYTES, 1, "1");
    written(NUMBER_BYTES, 3 * 1048576.0, "3.00M");
    written(NUMBER_SHARE, 0.256, "26%");
}
END_TEST

TEST_MAIN(top_table, numbers_sort_from_the_greatest_unless_the_column_ascends,
          texts_sort_by_their_letters, a_filter_looks_where_it_should_without_regard_to_case,
          a_row_is_found_again_after_sorting, no_more_rows_than_there_is_room_for,
          columns_go_by_priority_when_it_gets_narrow, sorting_goes_on_to_columns_that_are_seen,
          a_line_is_cut_and_clean, lines_that_some_do_not_need_go_to_others,
          numbers_have_three_figures_and_a_unit)
