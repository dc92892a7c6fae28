/* SPDX-License-Identifier: BSD-3-Clause */
#include "serialize/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* Bytes of the character that text starts with; 0 when it is no valid one. */
static size_t character_size(const uint8_t *text, size_t size)
{
    uint8_t first = text[0];
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4)
        return 0;
    size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (length > size)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (first == 0xe0 && text[1] < 0xa0) || (first == 0xf0 && text[1] < 0x90);
    bool surrogate = first == 0xed && text[1] > 0x9f;
    bool above = first == 0xf4 && text[1] > 0x8f;
    return overlong || surrogate || above ? 0 : length;
}

size_t utf8_valid_prefix(const char *text, size_t size)
{
    const uint8_t *bytes = (const uint8_t *)text;
    size_t at = 0;
    while (at < size) {
        /* Most text is ASCII: take it by words. */
        uint64_t word;
        while (size - at >= sizeof(word)) {
            memcpy(&word, bytes + at, sizeof(word));
            if ((word & UINT64_C(0x8080808080808080)) != 0)
                break;
            at += sizeof(word);
        }
        if (at == size)
            break;
        size_t length = character_size(bytes + at, size - at);
        if (length == 0)
            break;
        at += length;
    }
    return at;
}

struct excerpt utf8_excerpt(const char *text, size_t size)
{
    static const char ellipsis[] = "...";
    struct excerpt excerpt = {{0}};
    const size_t room = sizeof(excerpt.text) - sizeof(ellipsis);
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        size_t length = character_size((const uint8_t *)text + at, size - at);
        size_t step = length == 0 ? 1 : length;
        if (used + step > room) {
            memcpy(excerpt.text + used, ellipsis, sizeof(ellipsis));
            break;
        }
        bool printable = length > 1 || (length == 1 && text[at] >= 0x20 && text[at] != 0x7f);
        if (printable)
            memcpy(excerpt.text + used, text + at, step);
        else
            excerpt.text[used] = '?';
        used += printable ? step : 1;
        at += step;
    }
    return excerpt;
}
