/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Numbers for people, in at most seven characters. Pure.
 */
#ifndef TOOLS_TOP_NUMBER_H
#define TOOLS_TOP_NUMBER_H

#include "tools/units.h"

enum number_kind {
    NUMBER_PLAIN, /* all figures; negative: "-" */
    NUMBER_COUNT, /* 99999, 123k, 4.50M */
    NUMBER_RATE,  /* likewise; below 100 with a tenth */
    NUMBER_TIME,  /* ns: 850ns, 1.25ms, 2m05s; 0: "-" */
    NUMBER_BYTES, /* 4.00K, 1.50G; 0: "-" */
    NUMBER_SHARE, /* of one: 0% to 100% */
};

/* Returns text. */
const char *number_write(enum number_kind kind, double value, char text[UNITS_TEXT_SIZE]);

#endif
