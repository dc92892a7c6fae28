/* SPDX-License-Identifier: BSD-3-Clause */
#include "handlers.h"

MC_MODULE = {
    MC_MODULE_HEAD("bench"),
    .handlers = bench_handlers,
    .handler_count = 2,
};
