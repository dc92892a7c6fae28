/* SPDX-License-Identifier: BSD-3-Clause
 *
 * One handler of the troupe's as a lazy module of a served pool.
 */
#include "tests/fault/troupe.h"

static int load(mc_module_self *self)
{
    mc_module_export(self, self);
    return 0;
}

MC_MODULE = {
    MC_MODULE_HEAD("late"),
    .handlers = troupe_handlers + TROUPE_HANDLERS,
    .handler_count = 1,
    .load = load,
};
