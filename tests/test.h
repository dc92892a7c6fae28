/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One Check suite per file: write START_TEST cases, end with
 *     TEST_MAIN(splitter, even_split, minimum_chunk)
 */
#ifndef TESTS_TEST_H
#define TESTS_TEST_H

#include <check.h>
#include <stdlib.h>

#define TEST_MAIN(suite_name, ...)                                                                 \
    int main(void)                                                                                 \
    {                                                                                              \
        const TTest *const cases[] = {__VA_ARGS__};                                                \
        Suite *suite = suite_create(#suite_name);                                                  \
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {                            \
            TCase *one = tcase_create(cases[i]->name);                                             \
            tcase_set_timeout(one, 60);                                                            \
            tcase_add_test(one, cases[i]);                                                         \
            suite_add_tcase(suite, one);                                                           \
        }                                                                                          \
        SRunner *runner = srunner_create(suite);                                                   \
        srunner_run_all(runner, CK_NORMAL);                                                        \
        int failed = srunner_ntests_failed(runner);                                                \
        srunner_free(runner);                                                                      \
        return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;                                          \
    }

#endif
