/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/payload.h"

#include "base/error.h"
#include "serialize/codec.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const format_names[] = {
    [MC_RAW] = "raw", [MC_JSON] = "json", [MC_MSGPACK] = "msgpack"};
enum { FORMAT_COUNT = sizeof(format_names) / sizeof(format_names[0]), DUMP_WIDTH = 16 };

const char *payload_format_name(enum mc_format format)
{
    return (unsigned)format < FORMAT_COUNT ? format_names[format] : NULL;
}

int payload_format(const char *name)
{
    for (int i = 0; i < FORMAT_COUNT; i++)
        if (strcmp(name, format_names[i]) == 0)
            return i;
    return -1;
}

/* ---- Values as JSON ---- */

static json_t *json_of(mc_value value);

static json_t *json_of_bytes(const unsigned char *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * size + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    json_t *string = json_stringn(text, 2 * size);
    free(text);
    return string;
}

/* Texts that are no UTF-8 are bytes, too. */
static json_t *json_of_text(const char *text, size_t size)
{
    json_t *string = json_stringn(text, size);
    return string != NULL ? string : json_of_bytes((const unsigned char *)text, size);
}

static json_t *json_of_double(double number)
{
    if (isfinite(number))
        return json_real(number);
    return json_string(isnan(number) ? "NaN" : number > 0 ? "infinity" : "-infinity");
}

static json_t *json_of_array(mc_value value)
{
    json_t *array = json_array();
    mc_value element;
    for (size_t i = 0; i < mc_value_count(value) && mc_value_at(value, i, &element) == 0; i++)
        json_array_append_new(array, json_of(element));
    return array;
}

static json_t *json_of_map(mc_value value)
{
    json_t *object = json_object();
    mc_value key, element;
    const char *text;
    size_t size;
    for (size_t i = 0; i < mc_value_count(value); i++) {
        if (mc_value_entry(value, i, &key, &element) < 0 || mc_value_string(key, &text, &size) < 0)
            continue;
        char *name = malloc(size + 1); /* the text may lack an end */
        if (name == NULL)
            continue;
        memcpy(name, text, size);
        name[size] = '\0';
        json_object_set_new(object, name, json_of(element));
        free(name);
    }
    return object;
}

static json_t *json_of(mc_value value)
{
    bool truth = false;
    int64_t integer = 0;
    uint64_t natural = 0;
    double number = 0;
    const char *text = "";
    const void *bytes = "";
    size_t size = 0;
    switch (mc_value_type(value)) {
    case MC_BOOL:
        (void)mc_value_bool(value, &truth);
        return json_boolean(truth);
    case MC_INT:
        (void)mc_value_int(value, &integer);
        return json_integer(integer);
    case MC_UINT: /* more than an integer of jansson holds */
        (void)mc_value_uint(value, &natural);
        return json_sprintf("%" PRIu64, natural);
    case MC_DOUBLE:
        (void)mc_value_double(value, &number);
        return json_of_double(number);
    case MC_STRING:
        (void)mc_value_string(value, &text, &size);
        return json_of_text(text, size);
    case MC_BYTES:
        (void)mc_value_bytes(value, &bytes, &size);
        return json_of_bytes(bytes, size);
    case MC_ARRAY:
        return json_of_array(value);
    case MC_MAP:
        return json_of_map(value);
    case MC_NIL:
        break;
    }
    return json_null();
}

int payload_print_value(FILE *out, enum mc_format format, const void *data, size_t size,
                        bool indented)
{
    struct document *document;
    int result = document_open(format, data, size, &document);
    if (result < 0)
        return result;
    json_t *json = json_of(document_root(document));
    document_close(document);
    if (json == NULL)
        return error_set(-ENOMEM, "no memory to print %zu bytes", size);
    json_dumpf(json, out, JSON_ENCODE_ANY | (indented ? JSON_INDENT(2) : JSON_COMPACT));
    json_decref(json);
    return 0;
}

/* JSON_ENSURE_ASCII leaves DEL as it is; it can only be inside of a text. */
static int write_plain(const char *text, size_t size, void *out)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] == 0x7f)
            fputs("\\u007f", out);
        else
            fputc(text[i], out);
    return 0;
}

void payload_print_plain(FILE *out, const json_t *json)
{
    (void)json_dump_callback(json, write_plain, out,
                             JSON_ENCODE_ANY | JSON_ENSURE_ASCII | JSON_INDENT(2));
}

/* ---- Bytes ---- */

/* In any locale. */
static bool is_printable(unsigned char byte)
{
    return byte >= ' ' && byte <= '~';
}

void payload_print_escaped(FILE *out, const void *data, size_t size, bool plain)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '\n')
            fputs("\\n", out);
        else if (bytes[i] == '\\')
            fputs("\\\\", out);
        else if (is_printable(bytes[i]) || (!plain && bytes[i] > 0x7f))
            fputc(bytes[i], out);
        else
            fprintf(out, "\\x%02x", bytes[i]);
    }
}

void payload_dump(FILE *out, const void *data, size_t size, int indent)
{
    const unsigned char *bytes = data;
    for (size_t at = 0; at < size; at += DUMP_WIDTH) {
        size_t count = size - at < DUMP_WIDTH ? size - at : DUMP_WIDTH;
        fprintf(out, "%*s%08zx ", indent, "", at);
        for (size_t i = 0; i < DUMP_WIDTH; i++) {
            fputs(i == DUMP_WIDTH / 2 ? "  " : " ", out);
            if (i < count)
                fprintf(out, "%02x", bytes[at + i]);
            else
                fputs("  ", out);
        }
        fputs("  |", out);
        for (size_t i = 0; i < count; i++)
            fputc(is_printable(bytes[at + i]) ? bytes[at + i] : '.', out);
        fputs("|\n", out);
    }
}

/* ---- Copying ---- */

static void copy(mc_value value, mc_writer *writer);

static void copy_array(mc_value value, mc_writer *writer)
{
    mc_value element;
    (void)mc_write_array(writer, mc_value_count(value));
    for (size_t i = 0; i < mc_value_count(value) && mc_value_at(value, i, &element) == 0; i++)
        copy(element, writer);
}

static void copy_map(mc_value value, mc_writer *writer)
{
    mc_value key, element;
    (void)mc_write_map(writer, mc_value_count(value));
    for (size_t i = 0; i < mc_value_count(value); i++)
        if (mc_value_entry(value, i, &key, &element) == 0) {
            copy(key, writer);
            copy(element, writer);
        }
}

/* The writer keeps errors. */
static void copy(mc_value value, mc_writer *writer)
{
    bool truth = false;
    int64_t integer = 0;
    uint64_t natural = 0;
    double number = 0;
    const char *text = "";
    const void *bytes = "";
    size_t size = 0;
    switch (mc_value_type(value)) {
    case MC_NIL:
        (void)mc_write_nil(writer);
        break;
    case MC_BOOL:
        (void)mc_value_bool(value, &truth);
        (void)mc_write_bool(writer, truth);
        break;
    case MC_INT:
        (void)mc_value_int(value, &integer);
        (void)mc_write_int(writer, integer);
        break;
    case MC_UINT:
        (void)mc_value_uint(value, &natural);
        (void)mc_write_uint(writer, natural);
        break;
    case MC_DOUBLE:
        (void)mc_value_double(value, &number);
        (void)mc_write_double(writer, number);
        break;
    case MC_STRING:
        (void)mc_value_string(value, &text, &size);
        (void)mc_write_text(writer, text, size);
        break;
    case MC_BYTES:
        (void)mc_value_bytes(value, &bytes, &size);
        (void)mc_write_bytes(writer, bytes, size);
        break;
    case MC_ARRAY:
        copy_array(value, writer);
        break;
    case MC_MAP:
        copy_map(value, writer);
        break;
    }
}

void payload_copy(mc_value value, mc_writer *writer)
{
    copy(value, writer);
}
