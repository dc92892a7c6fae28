/* SPDX-License-Identifier: BSD-3-Clause */
#include "tests/fuzz/values.h"

#include "serialize/codec.h"

#include <errno.h>

/* What is written again may be larger, but not by this much: numbers of JSON take
 * up to 24 bytes for one of MessagePack, escapes 6. */
enum { GROWTH = 32 };

/* The parser's own limit: ours was checked on bytes that may have changed since. */
enum { DEPTH_MOST = 2048 };

/* ---- walking ---- */

static uint64_t sum(const void *bytes, size_t size)
{
    uint64_t total = size;
    for (size_t i = 0; i < size; i++)
        total = total * 31 + ((const uint8_t *)bytes)[i];
    return total;
}

/* Each accessor takes its own type, or says why not. */
static uint64_t ask_scalars(mc_value value)
{
    uint64_t total = 0;
    bool boolean;
    int64_t integer;
    uint64_t number;
    double real;
    const char *text;
    const void *bytes;
    size_t size;
    enum mc_type type = mc_value_type(value);
    EXPECT((mc_value_bool(value, &boolean) == 0) == (type == MC_BOOL));
    EXPECT((mc_value_int(value, &integer) == 0) == (type == MC_INT));
    EXPECT(mc_value_uint(value, &number) == 0 || type != MC_UINT);
    EXPECT((mc_value_double(value, &real) == 0) ==
           (type == MC_INT || type == MC_UINT || type == MC_DOUBLE));
    EXPECT((mc_value_string(value, &text, &size) == 0) == (type == MC_STRING));
    if (type == MC_STRING)
        total += sum(text, size);
    EXPECT((mc_value_bytes(value, &bytes, &size) == 0) == (type == MC_BYTES));
    if (type == MC_BYTES)
        total += sum(bytes, size);
    return total;
}

static uint64_t walk_map(mc_value map, unsigned depth)
{
    uint64_t total = 0;
    mc_value key, value, found;
    for (size_t i = 0; i < mc_value_count(map); i++) {
        const char *text;
        size_t size;
        EXPECT(mc_value_entry(map, i, &key, &value) == 0);
        EXPECT(mc_value_string(key, &text, &size) == 0);
        total += sum(text, size) + values_walk(value, depth + 1);
        char *name = malloc(size + 1);
        EXPECT(name != NULL);
        memcpy(name, text, size);
        name[size] = '\0';
        if (i < 64) /* it looks through the map */
            total += (uint64_t)mc_value_get(map, name, &found);
        free(name);
    }
    EXPECT(mc_value_entry(map, mc_value_count(map), &key, &value) == -ERANGE);
    return total;
}

uint64_t values_walk(mc_value value, unsigned depth)
{
    mc_value element, key;
    uint64_t total = ask_scalars(value) + mc_value_type(value);
    enum mc_type type = mc_value_type(value);
    EXPECT(depth <= DEPTH_MOST);
    if (type == MC_ARRAY) {
        for (size_t i = 0; i < mc_value_count(value); i++) {
            EXPECT(mc_value_at(value, i, &element) == 0);
            total += values_walk(element, depth + 1);
        }
        EXPECT(mc_value_at(value, mc_value_count(value), &element) == -ERANGE);
    } else if (type == MC_MAP) {
        total += walk_map(value, depth);
    } else {
        EXPECT(mc_value_count(value) == 0);
        EXPECT(mc_value_at(value, 0, &element) == -EINVAL);
        EXPECT(mc_value_entry(value, 0, &key, &element) == -EINVAL);
        EXPECT(mc_value_get(value, "", &element) == -EINVAL);
    }
    return total;
}

/* ---- writing ---- */

static int write_container(mc_writer *writer, mc_value value)
{
    size_t count = mc_value_count(value);
    bool is_map = mc_value_type(value) == MC_MAP;
    int result = is_map ? mc_write_map(writer, count) : mc_write_array(writer, count);
    for (size_t i = 0; i < count && result == 0; i++) {
        mc_value key, element;
        if (is_map) {
            EXPECT(mc_value_entry(value, i, &key, &element) == 0);
            result = values_write(writer, key);
        } else {
            EXPECT(mc_value_at(value, i, &element) == 0);
        }
        if (result == 0)
            result = values_write(writer, element);
    }
    return result;
}

int values_write(mc_writer *writer, mc_value value)
{
    bool boolean = false;
    int64_t integer = 0;
    uint64_t number = 0;
    double real = 0;
    const char *text = NULL;
    const void *bytes = NULL;
    size_t size = 0;
    switch (mc_value_type(value)) {
    case MC_NIL:
        return mc_write_nil(writer);
    case MC_BOOL:
        EXPECT(mc_value_bool(value, &boolean) == 0);
        return mc_write_bool(writer, boolean);
    case MC_INT:
        EXPECT(mc_value_int(value, &integer) == 0);
        return mc_write_int(writer, integer);
    case MC_UINT:
        EXPECT(mc_value_uint(value, &number) == 0);
        return mc_write_uint(writer, number);
    case MC_DOUBLE:
        EXPECT(mc_value_double(value, &real) == 0);
        return mc_write_double(writer, real);
    case MC_STRING:
        EXPECT(mc_value_string(value, &text, &size) == 0);
        return mc_write_text(writer, text, size);
    case MC_BYTES:
        EXPECT(mc_value_bytes(value, &bytes, &size) == 0);
        return mc_write_bytes(writer, bytes, size);
    case MC_ARRAY:
    case MC_MAP:
        return write_container(writer, value);
    }
    abort();
}

/* ---- comparing ---- */

static bool same_scalar(mc_value left, mc_value right)
{
    const void *bytes[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    uint64_t numbers[2] = {0, 0};
    double reals[2];
    switch (mc_value_type(left)) {
    case MC_NIL:
    case MC_ARRAY:
    case MC_MAP:
        return true;
    case MC_BOOL:
        EXPECT(mc_value_bool(left, (bool *)&numbers[0]) == 0);
        EXPECT(mc_value_bool(right, (bool *)&numbers[1]) == 0);
        return numbers[0] == numbers[1];
    case MC_INT:
        EXPECT(mc_value_int(left, (int64_t *)&numbers[0]) == 0);
        EXPECT(mc_value_int(right, (int64_t *)&numbers[1]) == 0);
        return numbers[0] == numbers[1];
    case MC_UINT:
        EXPECT(mc_value_uint(left, &numbers[0]) == 0 && mc_value_uint(right, &numbers[1]) == 0);
        return numbers[0] == numbers[1];
    case MC_DOUBLE:
        EXPECT(mc_value_double(left, &reals[0]) == 0 && mc_value_double(right, &reals[1]) == 0);
        return memcmp(&reals[0], &reals[1], sizeof(reals[0])) == 0;
    case MC_STRING:
        EXPECT(mc_value_string(left, (const char **)&bytes[0], &sizes[0]) == 0);
        EXPECT(mc_value_string(right, (const char **)&bytes[1], &sizes[1]) == 0);
        break;
    case MC_BYTES:
        EXPECT(mc_value_bytes(left, &bytes[0], &sizes[0]) == 0);
        EXPECT(mc_value_bytes(right, &bytes[1], &sizes[1]) == 0);
        break;
    }
    return sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
}

bool values_same(mc_value left, mc_value right)
{
    enum mc_type type = mc_value_type(left);
    size_t count = mc_value_count(left);
    if (type != mc_value_type(right) || count != mc_value_count(right))
        return false;
    if (!same_scalar(left, right))
        return false;
    for (size_t i = 0; i < count; i++) {
        mc_value keys[2], elements[2];
        if (type == MC_MAP) {
            EXPECT(mc_value_entry(left, i, &keys[0], &elements[0]) == 0);
            EXPECT(mc_value_entry(right, i, &keys[1], &elements[1]) == 0);
            if (!same_scalar(keys[0], keys[1]))
                return false;
        } else {
            EXPECT(mc_value_at(left, i, &elements[0]) == 0);
            EXPECT(mc_value_at(right, i, &elements[1]) == 0);
        }
        if (!values_same(elements[0], elements[1]))
            return false;
    }
    return true;
}

/* ---- the round trip ---- */

static int grow(struct sink *sink, size_t capacity)
{
    uint8_t *data = realloc(sink->data, capacity);
    EXPECT(data != NULL);
    sink->data = data;
    sink->capacity = capacity;
    return 0;
}

static void write_again(enum mc_format from, enum mc_format to, mc_value value, size_t size)
{
    struct sink sink = {.limit = GROWTH * (size + 8), .grow = grow};
    struct mc_writer writer = {0};
    EXPECT(writer_init(&writer, to, &sink) == 0);
    int written = values_write(&writer, value);
    int finished = writer_finish(&writer);
    EXPECT(written == 0 || finished == written);
    /* MessagePack takes anything but keys with zero bytes. JSON takes what came
     * from JSON. */
    EXPECT(finished == 0 || finished == -EINVAL);
    EXPECT(finished == 0 || from != MC_JSON);
    struct document *again = NULL;
    if (finished == 0) {
        EXPECT(document_open(to, sink.data, sink.size, &again) == 0);
        /* JSON has no order of keys. */
        EXPECT(to == MC_JSON || values_same(value, document_root(again)));
        (void)values_walk(document_root(again), 0);
        document_close(again);
    } else {
        EXPECT(sink.size == 0);
    }
    free(sink.data);
}

void values_round_trip(enum mc_format format, const void *data, size_t size)
{
    struct document *document = NULL;
    int result = document_open(format, data, size, &document);
    EXPECT(result == 0 || (document == NULL && mc_error_message()[0] != '\0'));
    EXPECT(result == 0 || result == -EBADMSG || result == -EMSGSIZE);
    if (result < 0)
        return;
    mc_value root = document_root(document);
    (void)values_walk(root, 0);
    write_again(format, MC_MSGPACK, root, size);
    write_again(format, MC_JSON, root, size);
    document_close(document);
}
