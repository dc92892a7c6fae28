/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/log.h"

#include "base/fault.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Some texts come from clients: a record is one line, and says nothing to a terminal. */
static void make_line(char *text)
{
    for (unsigned char before = 0; *text != '\0'; text++) {
        unsigned char byte = (unsigned char)*text;
        bool control = byte < ' ' || byte == 0x7f ||
                       (before == 0xc2 && byte < 0xa0); /* U+0080 to U+009F, in UTF-8 */
        if (control)
            *text = '?';
        before = byte;
    }
}

void log_write(struct control *control, int level, const char *format, ...)
{
    uint64_t at = atomic_load_explicit(&control->log_tail, memory_order_relaxed);
    struct log_record *record = &control->log[at % LOG_RECORDS];
    atomic_store_explicit(&record->sequence, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    FAULT_POINT("log_record");
    record->level = level;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(record->text, sizeof(record->text), format, arguments);
    va_end(arguments);
    make_line(record->text);
    atomic_store_explicit(&record->sequence, at + 1, memory_order_release); /* L1 */
    atomic_store_explicit(&control->log_tail, at + 1, memory_order_release);
}

int log_read(const struct control *control, uint64_t *cursor, char text[LOG_TEXT_SIZE])
{
    uint64_t tail = atomic_load_explicit(&control->log_tail, memory_order_acquire);
    if (tail - *cursor > LOG_RECORDS)
        *cursor = tail - LOG_RECORDS;
    while (*cursor != tail) {
        uint64_t at = (*cursor)++;
        const struct log_record *record = &control->log[at % LOG_RECORDS];
        if (atomic_load_explicit(&record->sequence, memory_order_acquire) != at + 1) /* L2 */
            continue;
        int level = record->level;
        memcpy(text, record->text, LOG_TEXT_SIZE);
        text[LOG_TEXT_SIZE - 1] = '\0';
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&record->sequence, memory_order_relaxed) == at + 1) /* L3 */
            return level;
    }
    return 0;
}
