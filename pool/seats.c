/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/seats.h"

/* Where the table says nothing: nothing happens, and the life stays. */
#define STEP(action, life)                                                                         \
    {                                                                                              \
        ACT_##action, LIFE_##life                                                                  \
    }

static const struct {
    struct seat_step step;
    bool named;
} table[LIVES][HAPPENINGS] = {
    [LIFE_EMPTY] =
        {[HAPPENS_SPAWN] = {STEP(ASK, ASKED), true}, [HAPPENS_DUE] = {STEP(ASK, ASKED), true}},
    [LIFE_ASKED] = {[HAPPENS_HELLO] = {STEP(GO, STARTING), true},
                    [HAPPENS_READY] = {STEP(KILL, ASKED), true},
                    [HAPPENS_DEATH] = {STEP(SWEEP, EMPTY), true}},
    [LIFE_STARTING] = {[HAPPENS_HELLO] = {STEP(KILL, STARTING), true},
                       [HAPPENS_READY] = {STEP(OPEN, UP), true},
                       [HAPPENS_INIT_FAILED] = {STEP(REPORT, STARTING), true},
                       [HAPPENS_DEATH] = {STEP(SWEEP, EMPTY), true}},
    [LIFE_UP] = {[HAPPENS_HELLO] = {STEP(KILL, UP), true},
                 [HAPPENS_READY] = {STEP(KILL, UP), true},
                 [HAPPENS_INIT_FAILED] = {STEP(KILL, UP), true},
                 [HAPPENS_DEATH] = {STEP(SWEEP, EMPTY), true}},
    [LIFE_RESTING] = {[HAPPENS_DUE] = {STEP(ASK, ASKED), true}},
};

struct seat_step seat_step(enum seat_life life, enum seat_happening happening)
{
    if (table[life][happening].named)
        return table[life][happening].step;
    return (struct seat_step){ACT_NOTHING, life};
}

static uint32_t doubled(uint32_t times)
{
    uint32_t shift = times < 16 ? times : 16;
    uint32_t rest = (uint32_t)BACKOFF_FIRST_MS << shift;
    return rest < BACKOFF_MOST_MS ? rest : BACKOFF_MOST_MS;
}

uint32_t seat_pause_ms(const struct seat_record *record)
{
    return doubled(record->failed_starts > 0 ? record->failed_starts - 1 : 0);
}

uint32_t seat_rest_ms(struct seat_record *record, bool was_up, uint64_t now_ms)
{
    bool quick = record->last_death_ms != 0 && now_ms - record->last_death_ms < STORM_MS;
    record->last_death_ms = now_ms;
    record->quick_deaths = quick ? record->quick_deaths + 1 : 0;
    record->failed_starts = was_up ? 0 : record->failed_starts + 1;
    if (record->failed_starts > 0)
        return seat_pause_ms(record);
    if (record->quick_deaths >= STORM_DEATHS)
        return doubled(record->quick_deaths - STORM_DEATHS);
    return 0;
}
