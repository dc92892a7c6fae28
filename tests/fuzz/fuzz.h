/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What the fuzz targets share. A target is one file with the function below; it
 * is linked with libFuzzer in the preset `fuzz`, and with replay.c, which runs
 * the kept corpus once, everywhere else.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What must hold whatever the input was; said on the way down, since the input
 * alone does not tell. */
#define EXPECT(condition)                                                                          \
    do {                                                                                           \
        if (!(condition))                                                                          \
            expect_failed(#condition, __FILE__, __LINE__);                                         \
    } while (0)
_Noreturn void expect_failed(const char *condition, const char *file, int line);

/* The input as a source of numbers; after its end they are 0. */
struct input {
    const uint8_t *data;
    size_t left;
};

static inline uint64_t input_number(struct input *input, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes && input->left != 0; i++, input->left--)
        number |= (uint64_t)*input->data++ << (8 * i);
    return number;
}

static inline uint8_t input_byte(struct input *input)
{
    return (uint8_t)input_number(input, 1);
}

/* Up to `most` of the bytes that come next, in place; returns how many. */
static inline size_t input_bytes(struct input *input, size_t most, const uint8_t **bytes)
{
    size_t size = most < input->left ? most : input->left;
    *bytes = input->data;
    input->data += size;
    input->left -= size;
    return size;
}

/* A copy with a zero byte behind it and nothing else, to be freed. */
static inline char *input_text(struct input *input, size_t most)
{
    const uint8_t *bytes;
    size_t size = input_bytes(input, most, &bytes);
    char *text = malloc(size + 1);
    if (text == NULL)
        abort();
    memcpy(text, bytes, size);
    text[size] = '\0';
    return text;
}

#endif
