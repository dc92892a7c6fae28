/* SPDX-License-Identifier: BSD-3-Clause */
#include "loadavg/admission.h"

#include "base/error.h"
#include "loadavg/text.h"

enum {
    LIMIT_MIN_MILLI = 10,
    LIMIT_MAX_MILLI = 100 * 1000,
    BARE_NUMBER_MAX_MILLI = 10 * 1000,

    QUEUE_FACTOR = 2,
    PRESSURE_BUSY_CENTI = 5000,
    PRESSURE_CALM_CENTI = 4500,
    OWN_SHARE_MAX_MILLI = 250,

    STALE_MS = 1000,
};

/* The value as it may stand in a message: short, one line. */
static void quote(const char *text, char *buffer, size_t size)
{
    size_t length = 0;
    for (; length < size - 1 && text[length] != '\0'; length++) {
        unsigned char character = (unsigned char)text[length];
        buffer[length] = character < ' ' || character > '~' ? '?' : text[length];
    }
    buffer[length] = '\0';
}

int admission_parse(const char *text, struct admission_policy *policy, const char **warning)
{
    if (text == NULL) {
        *policy = (struct admission_policy){.enabled = false};
        *warning = NULL;
        return 0;
    }
    uint32_t milli = 0;
    const char *rest = text_milli(text, &milli);
    bool percent = rest != NULL && *rest == '%';
    bool bare = rest != NULL && *rest == '\0' && milli > BARE_NUMBER_MAX_MILLI;
    if (percent)
        rest++;
    if (percent || bare)
        milli /= 100;
    if (rest == NULL || *rest != '\0' || milli < LIMIT_MIN_MILLI || milli > LIMIT_MAX_MILLI) {
        char quoted[40];
        quote(text, quoted, sizeof(quoted));
        return error_set(-EINVAL,
                         "max_load_average is \"%s\"; write the load per core as a number from "
                         "0.01 to 10 or as a percentage from 1%% to 10000%%, or leave it NULL to "
                         "run always in parallel",
                         quoted);
    }
    *policy = (struct admission_policy){.enabled = true, .limit_milli = milli};
    *warning = bare ? "max_load_average is above 10 and is read as a percentage; write it with a "
                      "% sign, as in 85%"
                    : NULL;
    return 0;
}

static uint32_t saturate(uint64_t value)
{
    return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static uint32_t minus(uint32_t whole, uint32_t part)
{
    return whole > part ? whole - part : 0;
}

/* Per core, rounded up: what is above a limit then also reads so. */
static uint32_t per_core(uint64_t total, uint32_t cores)
{
    return saturate(total / cores + (total % cores != 0));
}

static bool pressed(const struct load_sample *sample, uint32_t centi)
{
    return sample->psi_some_avg10_centi != UINT32_MAX && sample->psi_some_avg10_centi >= centi;
}

static void decide_by_host(const struct admission_policy *policy, const struct load_sample *sample,
                           bool was_busy, struct admission *decision)
{
    uint32_t cores = sample->usable_cores > 0 ? sample->usable_cores : 1;
    uint64_t limit = (uint64_t)policy->limit_milli * cores;
    uint64_t load = minus(sample->load1_milli, sample->own_busy_milli);
    /* The reader is on a run queue, too. */
    uint64_t queue = (uint64_t)minus(minus(sample->runnable, sample->own_busy_now), 1) * 1000;

    bool load_above = load > limit;
    bool load_held = was_busy && load * 10 >= limit * 9;
    bool queue_above = queue > limit * QUEUE_FACTOR && pressed(sample, PRESSURE_BUSY_CENTI);
    bool queue_held = was_busy && queue > limit && pressed(sample, PRESSURE_CALM_CENTI);

    bool by_queue = !load_above && (queue_above || (queue_held && !load_held));
    decision->busy = load_above || load_held || queue_above || queue_held;
    decision->held = decision->busy && !load_above && !queue_above;
    decision->cause = by_queue ? ADMISSION_QUEUE : ADMISSION_LOAD;
    decision->measured_milli = per_core(by_queue ? queue : load, cores);
}

static void decide_by_pressure(const struct load_sample *sample, bool was_busy,
                               struct admission *decision)
{
    if (sample->psi_some_avg10_centi == UINT32_MAX) {
        decision->cause = ADMISSION_QUOTA;
        return;
    }
    uint64_t own_max = (uint64_t)sample->usable_cores * OWN_SHARE_MAX_MILLI;
    bool not_ours = sample->own_busy_now == 0 && sample->own_busy_milli <= own_max;
    bool begins = not_ours && pressed(sample, PRESSURE_BUSY_CENTI);
    bool goes_on = was_busy && pressed(sample, PRESSURE_CALM_CENTI);

    decision->busy = begins || goes_on;
    decision->held = goes_on && !pressed(sample, PRESSURE_BUSY_CENTI);
    decision->cause = ADMISSION_PRESSURE;
    decision->measured_milli = sample->psi_some_avg10_centi / 10;
}

struct admission admission_decide(const struct admission_policy *policy,
                                  const struct load_sample *sample, struct admission previous)
{
    struct admission decision = {
        .cause = ADMISSION_NO_LIMIT,
        .taken_ms = (uint32_t)sample->taken_ms,
    };
    if (policy->enabled && sample->quota)
        decide_by_pressure(sample, previous.busy, &decision);
    else if (policy->enabled)
        decide_by_host(policy, sample, previous.busy, &decision);
    return decision;
}

/* Bit 0 busy, bit 1 held, bits 2 to 5 cause, 6 to 31 measured, 32 to 63 time. */
enum { CAUSE_SHIFT = 2, MEASURED_SHIFT = 6, TIME_SHIFT = 32 };
enum { CAUSE_MASK = 0xf, MEASURED_MAX = (1 << 26) - 1 };

uint64_t admission_pack(struct admission admission)
{
    uint64_t measured =
        admission.measured_milli < MEASURED_MAX ? admission.measured_milli : MEASURED_MAX;
    return (uint64_t)admission.busy | (uint64_t)admission.held << 1 |
           (uint64_t)(admission.cause & CAUSE_MASK) << CAUSE_SHIFT | measured << MEASURED_SHIFT |
           (uint64_t)admission.taken_ms << TIME_SHIFT;
}

struct admission admission_unpack(uint64_t packed)
{
    unsigned cause = packed >> CAUSE_SHIFT & CAUSE_MASK;
    return (struct admission){
        .busy = packed & 1,
        .held = packed >> 1 & 1,
        .cause = cause <= ADMISSION_DELAY ? (enum admission_cause)cause : ADMISSION_UNREADABLE,
        .measured_milli = packed >> MEASURED_SHIFT & MEASURED_MAX,
        .taken_ms = (uint32_t)(packed >> TIME_SHIFT),
    };
}

bool admission_stale(uint64_t taken_ms, uint64_t now_ms)
{
    /* Two readings of a clock that wraps; a coarse one may lag behind the
     * other, so an age a little below zero is young. */
    uint32_t age = (uint32_t)now_ms - (uint32_t)taken_ms;
    return age > STALE_MS && age < UINT32_MAX - STALE_MS;
}
