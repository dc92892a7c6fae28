/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Texts that other users wrote: a terminal would obey some of them.
 */
#ifndef TOOLS_PLAIN_H
#define TOOLS_PLAIN_H

/* What is no printable ASCII becomes '?', in place. */
static inline void plain_text(char *text)
{
    for (; *text != '\0'; text++)
        if (*text < ' ' || *text > '~')
            *text = '?';
}

#endif
