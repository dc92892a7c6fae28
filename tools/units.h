/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers with units, as configurations have them. Pure. The readers return 0,
 * -EINVAL for what is no such number, or -ERANGE when it does not fit 64 bits.
 */
#ifndef TOOLS_UNITS_H
#define TOOLS_UNITS_H

#include <stdint.h>

enum { UNITS_TEXT_SIZE = 32 };

int units_number(const char *text, uint64_t *value);
/* "4096", "64M": bytes, or so many K, M, G or T, which are powers of 1024. */
int units_size(const char *text, uint64_t *bytes);
/* "500ms", "5s", "2m", "1h", "7d". There is no default unit. */
int units_duration(const char *text, uint64_t *ms);

/* The other way round, with the largest unit that loses nothing; return text. */
const char *units_of_size(uint64_t bytes, char text[UNITS_TEXT_SIZE]);
const char *units_of_duration(uint64_t ms, char text[UNITS_TEXT_SIZE]);

/* For people, in three digits or so: "850ns", "12.3us", "4.56ms", "1.50s", "2m05s",
 * "3h12m", "5d06h"; "512", "12.3K", "1.50G". Return text. */
const char *units_short_time(uint64_t ns, char text[UNITS_TEXT_SIZE]);
const char *units_short_size(uint64_t bytes, char text[UNITS_TEXT_SIZE]);

#endif
