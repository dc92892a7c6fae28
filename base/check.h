/* SPDX-License-Identifier: BSD-3-Clause
 *
 * CHECK() is for our own bugs only, never for what the world does: it traps,
 * so that a broken invariant ends one process where it was seen.
 */
#ifndef BASE_CHECK_H
#define BASE_CHECK_H

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            __builtin_trap();                                                                      \
    } while (0)

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* Of a function that is hardly ever called: what leads there is unlikely, and its own
 * instructions are kept out of the way. */
#define COLD __attribute__((cold, noinline))

#endif
