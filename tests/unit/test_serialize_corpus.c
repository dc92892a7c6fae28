/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Runs over tests/data/serialize: good-* files decode, and survive being written
 * again in both formats; bad-* files are refused with an offset. Then damages
 * the good ones, which must never do worse than be refused.
 */
#include "serialize/codec.h"
#include "tests/test.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

struct file {
    const char *name;
    enum mc_format format;
    char *data; /* of exactly this size, so that a sanitizer sees reads past it */
    size_t size;
};

static struct file load(const char *path)
{
    struct file file = {.name = strrchr(path, '/') + 1};
    file.format = strstr(path, ".json") != NULL ? MC_JSON : MC_MSGPACK;
    FILE *stream = fopen(path, "rb");
    ck_assert_ptr_nonnull(stream);
    fseek(stream, 0, SEEK_END);
    file.size = (size_t)ftell(stream);
    rewind(stream);
    file.data = malloc(file.size);
    ck_assert_uint_eq(fread(file.data, 1, file.size, stream), file.size);
    fclose(stream);
    return file;
}

/* Calls visit for each file; returns how many there are. */
static size_t each(const char *pattern, void (*visit)(const struct file *file))
{
    glob_t found;
    if (glob(pattern, 0, NULL, &found) != 0)
        return 0;
    size_t count = found.gl_pathc;
    for (size_t i = 0; i < count; i++) {
        struct file file = load(found.gl_pathv[i]);
        visit(&file);
        free(file.data);
    }
    globfree(&found);
    return count;
}

/* ---- Trees --------------------------------------------------------------- */

static bool same_text(mc_value left, mc_value right)
{
    const char *texts[2];
    size_t sizes[2];
    ck_assert_int_eq(mc_value_string(left, &texts[0], &sizes[0]), 0);
    ck_assert_int_eq(mc_value_string(right, &texts[1], &sizes[1]), 0);
    return sizes[0] == sizes[1] && memcmp(texts[0], texts[1], sizes[0]) == 0;
}

static bool same_bytes(mc_value left, mc_value right)
{
    const void *bytes[2];
    size_t sizes[2];
    ck_assert_int_eq(mc_value_bytes(left, &bytes[0], &sizes[0]), 0);
    ck_assert_int_eq(mc_value_bytes(right, &bytes[1], &sizes[1]), 0);
    return sizes[0] == sizes[1] && memcmp(bytes[0], bytes[1], sizes[0]) == 0;
}

/* Tells zeros apart, and takes a NaN for itself. */
static uint64_t bits(double number)
{
    uint64_t out;
    memcpy(&out, &number, sizeof(out));
    return out;
}

static bool same_number(mc_value left, mc_value right)
{
    int64_t integers[2];
    uint64_t positives[2];
    double doubles[2];
    switch (mc_value_type(left)) {
    case MC_INT:
        return mc_value_int(left, &integers[0]) == 0 && mc_value_int(right, &integers[1]) == 0 &&
               integers[0] == integers[1];
    case MC_UINT:
        return mc_value_uint(left, &positives[0]) == 0 &&
               mc_value_uint(right, &positives[1]) == 0 && positives[0] == positives[1];
    default:
        return mc_value_double(left, &doubles[0]) == 0 &&
               mc_value_double(right, &doubles[1]) == 0 && bits(doubles[0]) == bits(doubles[1]);
    }
}

static bool same(mc_value left, mc_value right)
{
    if (mc_value_type(left) != mc_value_type(right) ||
        mc_value_count(left) != mc_value_count(right))
        return false;
    bool booleans[2], equal = true;
    mc_value keys[2], values[2];
    switch (mc_value_type(left)) {
    case MC_NIL:
        return true;
    case MC_BOOL:
        return mc_value_bool(left, &booleans[0]) == 0 && mc_value_bool(right, &booleans[1]) == 0 &&
               booleans[0] == booleans[1];
    case MC_INT:
    case MC_UINT:
    case MC_DOUBLE:
        return same_number(left, right);
    case MC_STRING:
        return same_text(left, right);
    case MC_BYTES:
        return same_bytes(left, right);
    case MC_ARRAY:
        for (size_t i = 0; i < mc_value_count(left) && equal; i++)
            equal = mc_value_at(left, i, &values[0]) == 0 &&
                    mc_value_at(right, i, &values[1]) == 0 && same(values[0], values[1]);
        return equal;
    case MC_MAP:
        for (size_t i = 0; i < mc_value_count(left) && equal; i++)
            equal = mc_value_entry(left, i, &keys[0], &values[0]) == 0 &&
                    mc_value_entry(right, i, &keys[1], &values[1]) == 0 && same(keys[0], keys[1]) &&
                    same(values[0], values[1]);
        return equal;
    }
    return false;
}

static void copy_scalar(mc_writer *writer, mc_value value)
{
    bool boolean;
    int64_t integer;
    uint64_t positive;
    double number;
    const char *text;
    const void *bytes;
    size_t size;
    switch (mc_value_type(value)) {
    case MC_BOOL:
        mc_value_bool(value, &boolean);
        mc_write_bool(writer, boolean);
        break;
    case MC_INT:
        mc_value_int(value, &integer);
        mc_write_int(writer, integer);
        break;
    case MC_UINT:
        mc_value_uint(value, &positive);
        mc_write_uint(writer, positive);
        break;
    case MC_DOUBLE:
        mc_value_double(value, &number);
        mc_write_double(writer, number);
        break;
    case MC_STRING:
        mc_value_string(value, &text, &size);
        mc_write_text(writer, text, size);
        break;
    case MC_BYTES:
        mc_value_bytes(value, &bytes, &size);
        mc_write_bytes(writer, bytes, size);
        break;
    default:
        mc_write_nil(writer);
    }
}

static void copy(mc_writer *writer, mc_value value)
{
    size_t count = mc_value_count(value);
    mc_value key, element;
    switch (mc_value_type(value)) {
    case MC_ARRAY:
        mc_write_array(writer, count);
        for (size_t i = 0; i < count; i++) {
            ck_assert_int_eq(mc_value_at(value, i, &element), 0);
            copy(writer, element);
        }
        break;
    case MC_MAP:
        mc_write_map(writer, count);
        for (size_t i = 0; i < count; i++) {
            ck_assert_int_eq(mc_value_entry(value, i, &key, &element), 0);
            copy(writer, key);
            copy(writer, element);
        }
        break;
    default:
        copy_scalar(writer, value);
    }
}

/* ---- Good files ---------------------------------------------------------- */

static int grow(struct sink *sink, size_t capacity)
{
    sink->data = realloc(sink->data, capacity);
    sink->capacity = capacity;
    return 0;
}

/* Bytes, integers above INT64_MAX, NaN and infinity. */
static bool has_no_json_form(const char *name)
{
    return strstr(name, "bytes") != NULL || strstr(name, "above-int64") != NULL ||
           strstr(name, "nan") != NULL;
}

static void rewrite(const struct file *file, mc_value value, enum mc_format format)
{
    struct sink sink = {.limit = 1 << 20, .grow = grow};
    struct mc_writer writer = {0};
    ck_assert_int_eq(writer_init(&writer, format, &sink), 0);
    copy(&writer, value);
    int error = writer_finish(&writer);
    if (format == MC_JSON && has_no_json_form(file->name)) {
        ck_assert_msg(error == -EINVAL, "%s as JSON: %d", file->name, error);
    } else {
        ck_assert_msg(error == 0, "%s: %s", file->name, error_message());
        struct document *document;
        error = document_open(format, sink.data, sink.size, &document);
        ck_assert_msg(error == 0, "%s: %s", file->name, error_message());
        ck_assert_msg(same(value, document_root(document)), "%s changed in format %d", file->name,
                      format);
        document_close(document);
    }
    free(sink.data);
}

static void decodes_and_survives(const struct file *file)
{
    struct document *document;
    int error = document_open(file->format, file->data, file->size, &document);
    ck_assert_msg(error == 0, "%s: %s", file->name, error_message());
    rewrite(file, document_root(document), MC_JSON);
    rewrite(file, document_root(document), MC_MSGPACK);
    document_close(document);
}

START_TEST(good_files_decode_and_survive_both_formats)
{
    ck_assert_uint_ge(each(TEST_DATA "/serialize/good-*.json", decodes_and_survives), 10);
    ck_assert_uint_ge(each(TEST_DATA "/serialize/good-*.msgpack", decodes_and_survives), 10);
}
END_TEST

/* ---- Bad files ----------------------------------------------------------- */

static void is_refused(const struct file *file)
{
    struct document *document = NULL;
    int expected = strstr(file->name, "bad-depth") != NULL ? -EMSGSIZE : -EBADMSG;
    int error = document_open(file->format, file->data, file->size, &document);
    ck_assert_msg(error == expected, "%s: %d, %s", file->name, error, error_message());
    ck_assert_msg(strstr(error_message(), " offset ") != NULL, "%s: %s", file->name,
                  error_message());
    ck_assert_msg(strpbrk(error_message(), "\n\r") == NULL, "%s: %s", file->name, error_message());
    ck_assert_ptr_null(document);
}

START_TEST(bad_files_are_refused_with_an_offset)
{
    ck_assert_uint_ge(each(TEST_DATA "/serialize/bad-*.json", is_refused), 20);
    ck_assert_uint_ge(each(TEST_DATA "/serialize/bad-*.msgpack", is_refused), 20);
}
END_TEST

/* ---- Damaged files ------------------------------------------------------- */

/* Reads all that decodes; the sanitizers see to the rest. */
static int decode_exactly(enum mc_format format, const char *data, size_t size)
{
    char *exact = malloc(size != 0 ? size : 1);
    memcpy(exact, data, size);
    struct document *document;
    int error = document_open(format, exact, size, &document);
    if (error == 0) {
        mc_value root = document_root(document);
        struct sink sink = {.limit = 1 << 20, .grow = grow};
        struct mc_writer writer = {0};
        ck_assert_int_eq(writer_init(&writer, MC_MSGPACK, &sink), 0);
        copy(&writer, root);
        writer_finish(&writer);
        free(sink.data);
        document_close(document);
    }
    free(exact);
    return error;
}

static void no_prefix_decodes(const struct file *file)
{
    for (size_t size = 0; size < file->size; size++)
        ck_assert_msg(decode_exactly(file->format, file->data, size) == -EBADMSG,
                      "%s cut to %zu bytes decodes", file->name, size);
}

START_TEST(no_prefix_of_a_messagepack_value_is_one)
{
    each(TEST_DATA "/serialize/good-*.msgpack", no_prefix_decodes);
}
END_TEST

static void survives_damage(const struct file *file)
{
    static const unsigned char bytes[] = {0x00, 0x7f, 0x80, 0x91, 0xa0, 0xc0, 0xc1, 0xc6, 0xdb,
                                          0xdd, 0xdf, 0xff, '"',  '\\', '[',  '{',  '}',  ','};
    for (size_t at = 0; at < file->size && at < 64; at++) {
        char kept = file->data[at];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            file->data[at] = (char)bytes[i];
            int error = decode_exactly(file->format, file->data, file->size);
            ck_assert_msg(error == 0 || error == -EBADMSG || error == -EMSGSIZE,
                          "%s with 0x%02x at %zu: %d", file->name, bytes[i], at, error);
        }
        file->data[at] = kept;
    }
}

START_TEST(a_damaged_byte_is_read_or_refused)
{
    each(TEST_DATA "/serialize/good-*", survives_damage);
}
END_TEST

TEST_MAIN(serialize_corpus, good_files_decode_and_survive_both_formats,
          bad_files_are_refused_with_an_offset, no_prefix_of_a_messagepack_value_is_one,
          a_damaged_byte_is_read_or_refused)
