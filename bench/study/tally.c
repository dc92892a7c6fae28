/* SPDX-License-Identifier: BSD-3-Clause */
#include "tally.h"

#include <err.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void tally_begin(struct tally *tally, uint64_t now, uint64_t timed)
{
    *tally = (struct tally){.began = now, .timed = timed};
}

static void keep_time(struct tally *tally, uint64_t took)
{
    if (tally->times == tally->room) {
        tally->room = tally->room == 0 ? 65536 : tally->room * 2;
        tally->took_us = realloc(tally->took_us, tally->room * sizeof(*tally->took_us));
        if (tally->took_us == NULL)
            errx(1, "no memory for the times of %zu requests", tally->room);
    }
    tally->took_us[tally->times++] = (uint32_t)(took / 1000);
}

void tally_answer(struct tally *tally, unsigned status, uint64_t began, uint64_t now)
{
    uint64_t second = (now - tally->began) / 1000000000u;
    tally->statuses[status < STATUS_MOST ? status : 0]++;
    if (status / 100 != 2)
        return;
    tally->successes++;
    if (began >= tally->timed)
        keep_time(tally, now - began);
    if (second >= SECONDS_MOST)
        second = SECONDS_MOST - 1;
    tally->seconds[second]++;
    tally->last_second = (uint32_t)second;
}

void tally_loss(struct tally *tally, enum loss loss)
{
    tally->losses[loss]++;
}

/* ---- the report ---- */

static int compare(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static json_t *milliseconds(const struct tally *tally, unsigned percent)
{
    if (tally->times == 0)
        return json_null();
    size_t place = (tally->times - 1) * percent / 100;
    return json_real(tally->took_us[place] / 1000.0);
}

static json_t *losses(const struct tally *tally)
{
    static const char *const names[] = {"refused", "reset", "closed", "garbled", "other"};
    json_t *object = json_object();
    for (unsigned i = 0; i < LOSS_KINDS; i++)
        if (tally->losses[i] > 0)
            json_object_set_new(object, names[i], json_integer(tally->losses[i]));
    return object;
}

static json_t *statuses(const struct tally *tally)
{
    json_t *object = json_object();
    for (unsigned i = 0; i < STATUS_MOST; i++) {
        char name[16];
        snprintf(name, sizeof(name), "%u", i);
        if (tally->statuses[i] > 0)
            json_object_set_new(object, name, json_integer(tally->statuses[i]));
    }
    return object;
}

bool tally_print(struct tally *tally, unsigned open)
{
    json_t *seconds = json_array();
    if (tally->times > 0)
        qsort(tally->took_us, tally->times, sizeof(*tally->took_us), compare);
    if (tally->successes > 0) {
        for (unsigned i = 0; i <= tally->last_second; i++)
            json_array_append_new(seconds, json_integer(tally->seconds[i]));
    }
    json_t *report =
        json_pack("{s:I, s:o, s:o, s:o, s:i, s:{s:o, s:o, s:o}}", "successes",
                  (json_int_t)tally->successes, "seconds", seconds, "statuses", statuses(tally),
                  "lost", losses(tally), "open", (int)open, "ms", "p50", milliseconds(tally, 50),
                  "p99", milliseconds(tally, 99), "max", milliseconds(tally, 100));
    bool printed = report != NULL && json_dumpf(report, stdout, JSON_REAL_PRECISION(7)) == 0 &&
                   putchar('\n') != EOF && fflush(stdout) == 0;
    json_decref(report);
    free(tally->took_us);
    return printed;
}
