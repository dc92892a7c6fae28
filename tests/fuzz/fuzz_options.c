/* SPDX-License-Identifier: BSD-3-Clause
 *
 * What a program gives: options, long and short ones, and their texts; what the
 * kernel writes about load and cgroups; ranges to be split.
 */
#include "loadavg/admission.h"
#include "loadavg/cgroup.h"
#include "loadavg/text.h"
#include "pool/config.h"
#include "pool/split.h"
#include "tests/fuzz/fuzz.h"

#include <errno.h>
#include <stdio.h>

enum { CHUNKS_MOST = 20000, HANDLERS_MOST = 4, LONGER = 24 };

static int run(mc_task *task)
{
    return 0;
}

/* ---- options ---- */

static void check_config(const struct config *config)
{
    const struct lane_geometry *geometry = &config->geometry;
    EXPECT(config->handler_count >= 1 && config->handler_count <= HANDLERS_MOST);
    EXPECT(config->workers >= 1 && config->workers <= MAX_SEATS);
    EXPECT(config->max_clients >= 1 && config->max_clients <= MAX_LANES);
    EXPECT(config->max_payload >= 1 && config->max_payload <= geometry->arena_size);
    EXPECT(geometry->slot_count >= 16 && geometry->slot_count <= MAX_SLOTS);
    /* Every unit of a lane has a number of 32 bits. */
    EXPECT(geometry->total_size / UNIT <= UINT32_MAX);
    EXPECT(geometry->arenas_offset + (config->seats + 1) * geometry->arena_size ==
           geometry->total_size);
}

/* Larger fields hold small numbers as often as large ones. */
static uint64_t some_number(struct input *input)
{
    return input_number(input, input_byte(input) % 9);
}

static void options(struct input *input)
{
    struct {
        struct mc_pool_options known;
        uint8_t later[LONGER]; /* what a newer version may add */
    } given;
    struct mc_handler handlers[HANDLERS_MOST] = {{0}};
    char *names[HANDLERS_MOST + 2];
    memset(&given, 0, sizeof(given));
    uint8_t set = input_byte(input);
    for (int i = 0; i < HANDLERS_MOST; i++) {
        names[i] = input_text(input, input_byte(input) % 80);
        handlers[i] = (struct mc_handler){.name = set & 1 ? names[i] : "run", .run = run};
        if (set & 2)
            handlers[i].flags = (uint32_t)some_number(input);
    }
    names[HANDLERS_MOST] = input_text(input, input_byte(input) % 32);
    names[HANDLERS_MOST + 1] = input_text(input, input_byte(input) % 32);
    given.known.size = sizeof(given.known);
    given.known.handlers = handlers;
    given.known.handler_count = 1;
    if (set & 4)
        given.known.handler_count = some_number(input);
    if (given.known.handler_count > HANDLERS_MOST && given.known.handler_count <= MAX_HANDLERS)
        given.known.handler_count = HANDLERS_MOST; /* as many as there are */
    given.known.workers = (unsigned)some_number(input);
    given.known.pinning = (enum mc_pinning)some_number(input);
    given.known.max_load_average = set & 8 ? names[HANDLERS_MOST] : NULL;
    given.known.queue_depth = (uint32_t)some_number(input);
    given.known.max_payload = some_number(input);
    given.known.arena_size = some_number(input);
    given.known.max_clients = (unsigned)some_number(input);
    given.known.close_timeout_ms = (unsigned)some_number(input);
    given.known.refork_after = (unsigned)some_number(input);
    given.known.proc_path = set & 16 ? names[HANDLERS_MOST + 1] : NULL;
    given.known.flags = (uint32_t)some_number(input);
    given.later[input_byte(input) % LONGER] = input_byte(input);
    if (set & 32)
        given.known.size = some_number(input) % (sizeof(given) + 1);
    struct config *config = NULL;
    int result = config_create(set == 0xff ? NULL : &given.known, NULL, &config);
    EXPECT(result == 0 || (result == -EINVAL && mc_error_message()[0] != '\0'));
    if (result == 0) {
        check_config(config);
        (void)config_handler(config, names[0]);
        (void)config_handler(config, names[HANDLERS_MOST]);
    }
    config_free(config);
    for (int i = 0; i < HANDLERS_MOST + 2; i++)
        free(names[i]);
}

/* ---- texts ---- */

static void load_texts(struct input *input)
{
    char *text = input_text(input, SIZE_MAX);
    struct admission_policy policy = {0};
    const char *warning = NULL;
    uint32_t milli;
    uint64_t number;
    char reason[192];
    int result = admission_parse(text, &policy, &warning);
    EXPECT(result == 0 || result == -EINVAL);
    EXPECT(result != 0 || (policy.limit_milli >= 10 && policy.limit_milli <= 100000));
    (void)admission_reason(admission_unpack(policy.limit_milli), &policy, MC_INLINE, reason,
                           sizeof(reason));
    const char *end = text_milli(text, &milli);
    EXPECT(end == NULL || (end > text && end <= text + strlen(text)));
    end = text_integer(text, &number);
    EXPECT(end == NULL || (end > text && end <= text + strlen(text)));
    free(text);
}

static void admission(struct input *input)
{
    struct admission_policy policy = {.enabled = true, .limit_milli = (uint32_t)some_number(input)};
    struct load_sample sample = {.taken_ms = some_number(input),
                                 .load1_milli = (uint32_t)some_number(input),
                                 .psi_some_avg10_centi = (uint32_t)some_number(input),
                                 .runnable = (uint32_t)some_number(input),
                                 .usable_cores = (uint32_t)some_number(input),
                                 .own_busy_now = (uint32_t)some_number(input),
                                 .own_busy_milli = (uint32_t)some_number(input),
                                 .quota = (input_byte(input) & 1) != 0};
    struct admission previous = admission_unpack(some_number(input));
    char reason[192];
    struct admission decided = admission_decide(&policy, &sample, previous);
    struct admission again = admission_unpack(admission_pack(decided));
    EXPECT(again.busy == decided.busy && again.cause == decided.cause);
    (void)admission_reason(again, &policy, (enum mc_mode)(input_byte(input) % 3), reason,
                           1 + input_byte(input) % sizeof(reason));
    (void)admission_stale(previous.taken_ms, sample.taken_ms);
}

static void cgroup_texts(struct input *input)
{
    struct cgroup_mount mount;
    const char *path;
    bool unified;
    char *line = input_text(input, SIZE_MAX), *copy = strdup(line);
    EXPECT(copy != NULL);
    (void)cgroup_parse_max(line);
    (void)cgroup_parse_cfs(line, line + strlen(line) / 2);
    if (cgroup_parse_mount(line, &mount))
        EXPECT(strlen(mount.top) + strlen(mount.point) < 1 + strlen(copy));
    if (cgroup_parse_membership(copy, &unified, &path))
        EXPECT(path[0] == '/' && strchr(path, '\n') == NULL);
    free(copy);
    free(line);
}

/* ---- ranges ---- */

static void ranges(struct input *input)
{
    uint8_t how = input_byte(input);
    uint64_t items = some_number(input), least = some_number(input), most = some_number(input);
    unsigned parts = (unsigned)some_number(input);
    struct mc_range some[3] = {{0}};
    struct split split;
    struct mc_range range;
    uint64_t end = 0;
    size_t count = 0;
    if ((how & 1) != 0)
        most = 0; /* as mc_ranges() has it */
    split_init(&split, items, parts, how & 2 ? MC_SPLIT_STATIC : MC_SPLIT_GUIDED, least, most);
    while (count < CHUNKS_MOST && split_next(&split, &range)) {
        EXPECT(range.start == end && range.end > range.start && range.end <= items);
        EXPECT(most == 0 || range.end - range.start <= most);
        end = range.end;
        count++;
    }
    EXPECT(count == CHUNKS_MOST || end == items);
    size_t all = mc_ranges(items, parts, least, some, how % 4);
    EXPECT(all <= (parts > 0 ? parts : 1));
    if ((how & 3) == 3 && count < CHUNKS_MOST)
        EXPECT(all == count && some[2].end <= items);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    switch (input_byte(&input) % 5) {
    case 0:
        options(&input);
        break;
    case 1:
        load_texts(&input);
        break;
    case 2:
        admission(&input);
        break;
    case 3:
        cgroup_texts(&input);
        break;
    case 4:
        ranges(&input);
        break;
    }
    return 0;
}
