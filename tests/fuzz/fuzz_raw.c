/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The input is a raw payload, and then a list of calls to a writer, in any order
 * and of any format: whatever it accepts must be a value.
 */
#include "serialize/codec.h"
#include "tests/fuzz/values.h"

#include <errno.h>

enum { CALLS_MOST = 2000 };

static int grow(struct sink *sink, size_t capacity)
{
    EXPECT(capacity <= sink->limit);
    if (capacity > 60000)
        return error_set(-ENOMEM, "as if there were no more memory");
    uint8_t *data = realloc(sink->data, capacity);
    EXPECT(data != NULL);
    sink->data = data;
    sink->capacity = capacity;
    return 0;
}

static int call(mc_writer *writer, struct input *input)
{
    const uint8_t *bytes;
    uint8_t what = input_byte(input);
    size_t size = what >> 4;
    switch (what & 0xf) {
    case 0:
        return mc_write_nil(writer);
    case 1:
        return mc_write_bool(writer, size != 0);
    case 2:
        return mc_write_int(writer, (int64_t)input_number(input, size % 9));
    case 3:
        return mc_write_uint(writer, input_number(input, size % 9));
    case 4: {
        uint64_t bits = input_number(input, 8);
        double real;
        memcpy(&real, &bits, sizeof(real));
        return mc_write_double(writer, real);
    }
    case 5:
        return mc_write_array(writer, size);
    case 6:
        return mc_write_map(writer, size);
    case 7: /* announced lengths, up to the largest */
        return size % 2 == 0 ? mc_write_array(writer, input_number(input, 8))
                             : mc_write_map(writer, input_number(input, 8));
    case 8: {
        char *text = input_text(input, size);
        int result = mc_write_string(writer, size != 15 ? text : NULL);
        free(text);
        return result;
    }
    case 9:
        size = input_bytes(input, 16 * size, &bytes);
        return mc_write_text(writer, (const char *)bytes, size);
    case 10:
        size = input_bytes(input, 16 * size, &bytes);
        return mc_write_bytes(writer, bytes, size);
    case 11:
        return mc_write_bytes(writer, NULL, size);
    default:
        size = input_bytes(input, size, &bytes);
        return mc_write_text(writer, (const char *)bytes, size);
    }
}

static void write_calls(struct input *input)
{
    uint8_t begin = input_byte(input);
    enum mc_format format = (enum mc_format)(begin % 3);
    struct sink sink = {.limit = (size_t)input_number(input, 2), .grow = grow};
    struct mc_writer writer = {0};
    int first = 0;
    EXPECT(writer_init(&writer, format, &sink) == 0);
    for (int calls = 0; input->left != 0 && calls < CALLS_MOST; calls++) {
        int result = call(&writer, input);
        EXPECT(first == 0 || result == first);
        first = result;
    }
    if ((begin & 0x80) != 0) {
        writer_fini(&writer);
    } else {
        int result = writer_finish(&writer);
        struct document *document = NULL;
        EXPECT(first == 0 || result == first);
        EXPECT(result == 0 || sink.size == 0);
        EXPECT(sink.size <= sink.limit);
        if (result == 0) {
            EXPECT(document_open(format, sink.data, sink.size, &document) == 0);
            (void)values_walk(document_root(document), 0);
            document_close(document);
        }
    }
    EXPECT(mc_write_nil(&writer) == -EINVAL); /* it has ended */
    free(sink.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct document *document = NULL;
    EXPECT(document_open(MC_RAW, data, size, &document) == 0);
    (void)values_walk(document_root(document), 0);
    document_close(document);
    EXPECT(document_open((enum mc_format)(3 + input_byte(&input)), data, size, &document) ==
           -EINVAL);
    write_calls(&input);
    return 0;
}
