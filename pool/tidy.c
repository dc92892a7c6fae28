/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/tidy.h"

#include "base/clock.h"
#include "ipc/wake.h"
#include "pool/work.h"

/* Given back at once: about 1 ms of work, after which a worker looks whether it is
 * wanted. */
enum { SLICE = (4 << 20) / UNIT };

static bool wanted(const struct worker *worker)
{
    return wake_was_woken(worker->bells, worker->seat) || work_alarmed(worker);
}

static void trim_to(const struct worker *worker, struct blocks *blocks, uint32_t keep)
{
    uint32_t spare;
    while ((spare = extents_spare(&blocks->extents)) > keep && !wanted(worker))
        blocks_trim(blocks, spare - keep > SLICE ? spare - SLICE : keep);
}

/* What a steady flow of tasks needs is taken now and then, however much it is. */
static void trim_unused(struct worker *worker, uint32_t lane, struct view *view)
{
    const struct extents *extents = &view->blocks.extents;
    blocks_collect(&view->blocks);
    uint32_t unused = extents_unused(extents);
    if (unused > TIDY_BOUND)
        trim_to(worker, &view->blocks, extents_spare(extents) - unused + TIDY_BOUND / 2);
}

static void watch(struct worker *worker, uint32_t lane, struct view *view)
{
    extents_watch(&view->blocks.extents);
}

static void trim_idle(struct worker *worker, uint32_t lane, struct view *view)
{
    struct blocks *blocks = &view->blocks;
    blocks_collect(blocks);
    if (blocks->extents.taken_units > TIDY_KEEP) {
        atomic_store_explicit(&view->lane.header->holding[worker->seat], 1, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst); /* B3 */
        blocks_collect(blocks);
    }
    trim_to(worker, blocks, TIDY_KEEP);
    if (!wanted(worker) && blocks->extents.taken_units <= TIDY_KEEP)
        worker->views.untidy[lane / 64] &= ~(UINT64_C(1) << (lane % 64));
}

/* For each lane whose arena is large, until somebody wants this worker. A lane
 * that is another one by now was given back as a whole. */
static void visit_untidy(struct worker *worker,
                         void (*visit)(struct worker *worker, uint32_t lane, struct view *view))
{
    struct views *views = &worker->views;
    for (uint32_t word = 0; word < MASK_WORDS; word++) {
        uint64_t bits = views->untidy[word];
        for (; bits != 0 && !wanted(worker); bits &= bits - 1) {
            uint32_t lane = word * 64 + (uint32_t)__builtin_ctzll(bits);
            if (views_current(views, lane))
                visit(worker, lane, &views->table[lane]);
            else
                views->untidy[word] &= ~(bits & -bits);
        }
    }
}

void tidy_before_sleep(struct worker *worker)
{
    uint64_t now = clock_coarse_ms();
    if (now - worker->tidied_ms >= TIDY_IDLE_MS) {
        visit_untidy(worker, trim_unused);
        if (!wanted(worker)) { /* else it goes on when it falls asleep again */
            worker->tidied_ms = now;
            visit_untidy(worker, watch);
        }
    }
}

void tidy_when_idle(struct worker *worker)
{
    visit_untidy(worker, trim_idle);
}

void tidy_sleep(struct worker *worker)
{
    tidy_before_sleep(worker);
    if (wake_sleep_within(worker->bells, worker->seat, TIDY_IDLE_MS * UINT64_C(1000000)))
        return;
    tidy_when_idle(worker);
    wake_sleep(worker->bells, worker->seat, work_bells_shared(worker));
}

void tidy_released(struct lane_header *header, struct bells *bells, uint32_t seat)
{
    atomic_thread_fence(memory_order_seq_cst); /* B3: after B1 */
    if (atomic_load_explicit(&header->holding[seat], memory_order_relaxed) != 0 &&
        atomic_exchange_explicit(&header->holding[seat], 0, memory_order_relaxed) != 0)
        (void)wake_seat(bells, seat);
}
