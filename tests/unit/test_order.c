/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/order.h"

#include "base/error.h"
#include "tests/test.h"

#include <string.h>

#define NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

START_TEST(what_is_required_comes_first_and_the_rest_as_declared)
{
    const struct order_item items[] = {
        {"web", NAMES("db", "cache")}, {"lone", NULL}, {"cache", NAMES("base")},
        {"db", NAMES("base")},         {"base", NULL},
    };
    const uint32_t expected[] = {1, 4, 2, 3, 0};
    uint32_t order[5];
    ck_assert_int_eq(order_modules(items, 5, order), 0);
    ck_assert_mem_eq(order, expected, sizeof(expected));
}
END_TEST

START_TEST(needs_are_direct_and_indirect)
{
    const struct order_item items[] = {
        {"base", NULL}, {"db", NAMES("base")}, {"lone", NULL}, {"web", NAMES("db")}};
    uint64_t needs[4];
    order_needs(items, 4, needs);
    ck_assert_uint_eq(needs[0], 0);
    ck_assert_uint_eq(needs[1], 1);
    ck_assert_uint_eq(needs[2], 0);
    ck_assert_uint_eq(needs[3], 3);
}
END_TEST

static void expect_refusal(const struct order_item *items, uint32_t count, const char *words)
{
    uint32_t order[8];
    ck_assert_int_eq(order_modules(items, count, order), -EINVAL);
    ck_assert_msg(strstr(error_message(), words) != NULL, "%s", error_message());
}

START_TEST(a_cycle_is_told_as_a_path)
{
    const struct order_item items[] = {{"top", NAMES("a")},
                                       {"a", NAMES("b")},
                                       {"b", NAMES("c")},
                                       {"c", NAMES("a")},
                                       {"base", NULL}};
    expect_refusal(items, 5, " -> ");
    ck_assert_msg(strstr(error_message(), "top") == NULL, "%s", error_message());
    const struct order_item narcissus[] = {{"self", NAMES("self")}};
    expect_refusal(narcissus, 1, "self -> self");
}
END_TEST

START_TEST(what_is_missing_or_twice_is_named)
{
    const struct order_item missing[] = {{"web", NAMES("db")}};
    const struct order_item twice[] = {{"web", NULL}, {"db", NULL}, {"web", NULL}};
    expect_refusal(missing, 1, "module 'web' requires 'db', which is not there");
    expect_refusal(twice, 3, "module 'web' is there twice");
}
END_TEST

TEST_MAIN(order, what_is_required_comes_first_and_the_rest_as_declared,
          needs_are_direct_and_indirect, a_cycle_is_told_as_a_path,
          what_is_missing_or_twice_is_named)
