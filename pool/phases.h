/* SPDX-License-Identifier: BSD-3-Clause
 *
 * configure, load and ready of all modules, in the zygote.
 */
#ifndef POOL_PHASES_H
#define POOL_PHASES_H

#include "pool/config.h"

/* Of the modules at these places in the order; what else they need has been through it
 * before. load runs in threads where modules do not need each other, which are all gone when
 * this returns. What comes of it does not depend on who is quicker: of several that fail it is
 * the first in order that is reported. A negative errno with a message that names module and
 * phase. threads: as many may be left when a phase is over. */
int phases_run(struct config *config, uint64_t places, unsigned threads);

/* That no module left a thread behind, which workers would miss: -EBUSY with a message.
 * suspect: the only module that can have done so, -1: not known. threads: as above. */
int phases_check_threads(const struct config *config, int suspect, enum module_phase after,
                         unsigned threads);

#endif
