/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int read_all(int descriptor, struct source *source)
{
    while (source->size <= SOURCE_MOST) {
        ssize_t got = read(descriptor, source->text + source->size, SOURCE_MOST + 1 - source->size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -errno;
        if (got == 0)
            return 0;
        source->size += (size_t)got;
    }
    return -EFBIG;
}

int source_read(struct source *source, const char *path, struct problems *problems)
{
    *source = (struct source){.text = calloc(1, SOURCE_MOST + 2)};
    int descriptor = source->text == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    int result = descriptor < 0 ? -errno : read_all(descriptor, source);
    if (descriptor >= 0)
        close(descriptor);
    if (result == -EFBIG)
        problems_error(problems, 0, "the file has more than %d KiB; is it a configuration?",
                       SOURCE_MOST / 1024);
    else if (result < 0)
        problems_error(problems, 0, "the file cannot be read: %s", strerror(-result));
    return result;
}

/* Where we are. */
struct scan {
    struct source *source;
    struct problems *problems;
    size_t at;
    int line;
    char before; /* the last character that was no blank */
    int open[2]; /* the lines of sections that are not closed; [0] also for lists */
    int depth;
    int result;
};

static void refuse(struct scan *scan, int line, const char *text)
{
    problems_error(scan->problems, line, "%s", text);
    scan->result = -EINVAL;
}

static char look(const struct scan *scan, size_t ahead)
{
    size_t place = scan->at + ahead;
    return place < scan->source->size ? scan->source->text[place] : '\0';
}

static void blank(struct scan *scan)
{
    if (look(scan, 0) == '\n')
        scan->line++;
    else
        scan->source->text[scan->at] = ' ';
    scan->at++;
}

static void line_comment(struct scan *scan)
{
    while (scan->at < scan->source->size && look(scan, 0) != '\n')
        blank(scan);
}

static void block_comment(struct scan *scan)
{
    int line = scan->line;
    blank(scan);
    blank(scan);
    while (scan->at < scan->source->size && !(look(scan, 0) == '*' && look(scan, 1) == '/'))
        blank(scan);
    if (scan->at == scan->source->size) {
        refuse(scan, line, "the comment that begins here has no end; write '*/'");
        return;
    }
    blank(scan);
    blank(scan);
}

static void string(struct scan *scan)
{
    int line = scan->line;
    char quote = look(scan, 0);
    for (scan->at++; scan->at < scan->source->size && look(scan, 0) != quote; scan->at++) {
        if (look(scan, 0) == '\\' && scan->at + 1 < scan->source->size)
            scan->at++;
        if (look(scan, 0) == '\n')
            scan->line++;
        else if (look(scan, 0) == '\0')
            refuse(scan, scan->line, "there is a zero byte in the string; is this a text file?");
    }
    if (scan->at >= scan->source->size) {
        scan->at = scan->source->size;
        refuse(scan, line, "the string that begins here has no end; close it with the same quote");
        return;
    }
    scan->at++;
    scan->before = quote;
}

static void open_brace(struct scan *scan)
{
    struct source *source = scan->source;
    if (scan->before != '=') { /* a section; its settings may be lists */
        int *grown = reallocarray(source->sections, source->section_count + 1, sizeof(*grown));
        if (grown == NULL) {
            refuse(scan, scan->line, "there is no memory for another section");
            return;
        }
        source->sections = grown;
        source->sections[source->section_count++] = scan->line;
    }
    if (scan->depth < 2)
        scan->open[scan->depth] = scan->line;
    scan->depth++;
}

static void brace(struct scan *scan)
{
    char found = look(scan, 0);
    if (found == '{')
        open_brace(scan);
    else if (scan->depth == 0)
        refuse(scan, scan->line, "'}' closes nothing; remove it, or write what it is to close");
    else
        scan->depth--;
    scan->before = found;
    scan->at++;
}

static void word(struct scan *scan)
{
    static const char ends[] = " \t\r\n#\"'={}()+,*;";
    if (look(scan, 0) == '$' && look(scan, 1) == '{')
        refuse(scan, scan->line, "quote what contains ${...}: \"${NAME}\"");
    while (scan->at < scan->source->size && strchr(ends, look(scan, 0)) == NULL) {
        if ((unsigned char)look(scan, 0) < ' ')
            break;
        scan->at++;
    }
    scan->before = 'a';
}

static void other(struct scan *scan)
{
    char found = look(scan, 0);
    if (found == '=' || found == ',' || (found == '+' && look(scan, 1) == '=')) {
        scan->before = found;
        scan->at++;
    } else if (strchr("()*+", found) != NULL || (unsigned char)found < ' ') {
        problems_error(scan->problems, scan->line,
                       (unsigned char)found < ' ' ? "the character \\x%02x does not belong here; "
                                                    "is this a text file?"
                                                  : "the character '%c' does not belong here; "
                                                    "quote values that contain it",
                       found);
        scan->result = -EINVAL;
        blank(scan);
    } else {
        word(scan);
    }
}

static void step(struct scan *scan)
{
    switch (look(scan, 0)) {
    case '\n':
    case ' ':
    case '\t':
    case '\r':
    case ';':
        blank(scan);
        break;
    case '#':
        line_comment(scan);
        break;
    case '"':
    case '\'':
        string(scan);
        break;
    case '{':
    case '}':
        brace(scan);
        break;
    case '/':
        if (look(scan, 1) == '/')
            line_comment(scan);
        else if (look(scan, 1) == '*')
            block_comment(scan);
        else
            word(scan);
        break;
    default:
        other(scan);
    }
}

int source_prepare(struct source *source, struct problems *problems)
{
    struct scan scan = {.source = source, .problems = problems, .line = 1};
    while (scan.at < source->size)
        step(&scan);
    if (scan.depth > 0)
        refuse(&scan, scan.open[scan.depth > 1 ? 1 : 0],
               "the '{' here is not closed; write '}' where its section or list ends");
    return scan.result;
}

void source_free(struct source *source)
{
    free(source->text);
    free(source->sections);
    *source = (struct source){0};
}
