/* SPDX-License-Identifier: BSD-3-Clause */
#include "pool/hooks.h"

#include "base/error.h"

#include <stdio.h>
#include <string.h>

static int begin(struct mc_module_self *module, void **state)
{
    if (module->descriptor == NULL)
        return module->worker_init == NULL ? 0 : module->worker_init(module->hook_context, state);
    return module->descriptor->worker_init == NULL ? 0
                                                   : module->descriptor->worker_init(module, state);
}

static void end(const struct mc_module_self *module, void *state)
{
    void (*hook)(void *) =
        module->descriptor == NULL ? module->worker_exit : module->descriptor->worker_exit;
    if (hook != NULL)
        hook(state);
}

/* What the hook said, or else what its status means. */
static int failed(const struct mc_module_self *module, int status)
{
    char text[ERROR_MESSAGE_SIZE];
    if (module->misuse[0] != '\0')
        return error_set(status, "worker_init: %s", module->misuse);
    if (error_code() == status)
        snprintf(text, sizeof(text), "%s", error_message());
    else
        snprintf(text, sizeof(text), "worker_init returned %d (%s)", status, strerror(-status));
    if (module->name[0] == '\0')
        return error_set(status, "%s", text);
    return error_set(status, "module '%s': %.400s", module->name, text);
}

/* Those at these places, of the first so many. */
static void end_first(const struct config *config, uint64_t places, struct states *states,
                      uint32_t count)
{
    while (count-- > 0)
        if ((places >> count & 1) != 0)
            end(&config->modules[count], states->of[count]);
}

/* Notes in the start-up what the worker of this seat is in; the times of the first worker
 * that comes to the end stay there. */
struct notes {
    struct startup *startup; /* NULL: nobody takes notes */
    uint32_t seat;
    struct startup_span spans[MODULES_MOST];
};

static int begin_noted(struct notes *notes, struct mc_module_self *module, void **state)
{
    if (notes->startup == NULL)
        return begin(module, state);
    notes->startup->starting[notes->seat] = (uint8_t)(1 + module->row);
    startup_begin(notes->startup, module->row, &notes->spans[module->row]);
    int status = begin(module, state);
    startup_end(&notes->spans[module->row]);
    notes->startup->starting[notes->seat] = 0;
    return module->misuse[0] != '\0' ? -EPERM : status;
}

static void file_notes(const struct notes *notes)
{
    if (notes->startup == NULL || atomic_exchange(&notes->startup->worker_seen, 1) != 0)
        return;
    for (uint32_t i = 0; i < notes->startup->module_count; i++)
        notes->startup->modules[i].spans[MODULE_WORKER_INIT] = notes->spans[i];
}

uint64_t hooks_all(const struct config *config)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < config->module_count; i++)
        places |= (uint64_t)!config->modules[i].asleep << i;
    return places;
}

int hooks_begin(const struct config *config, uint32_t seat, uint64_t places, struct states *states)
{
    struct notes notes = {.startup = seat < MAX_SEATS ? config->startup : NULL, .seat = seat};
    for (uint32_t i = 0; i < config->module_count; i++) {
        if ((places >> i & 1) == 0)
            continue;
        error_clear();
        int status = begin_noted(&notes, &config->modules[i], &states->of[i]);
        if (status < 0) {
            end_first(config, places, states, i);
            return failed(&config->modules[i], status);
        }
    }
    file_notes(&notes);
    if (notes.startup != NULL)
        startup_seal(notes.startup);
    return 0;
}

void hooks_end(const struct config *config, struct states *states)
{
    end_first(config, hooks_all(config), states, config->module_count);
}
