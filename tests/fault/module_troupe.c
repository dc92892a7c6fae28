/* SPDX-License-Identifier: BSD-3-Clause
 *
 * The troupe's handlers as a module of a served pool; they are in the program itself.
 */
#include "tests/fault/troupe.h"

static int begin(mc_module_self *self, void **state)
{
    return troupe_init(NULL, state);
}

MC_MODULE = {
    MC_MODULE_HEAD("troupe"),
    .handlers = troupe_handlers,
    .handler_count = TROUPE_HANDLERS,
    .worker_init = begin,
};
