/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Makes a fault point of every atomic store. Compiled with MC_FAULTS, each module
 * that writes to shared memory has this before its own first line, so no store is
 * forgotten. What is not atomic is written in groups before a store that is, or
 * before a point that has a name.
 */
#ifndef BASE_FAULT_STORES_H
#define BASE_FAULT_STORES_H

#include "base/fault.h"

#include <stdatomic.h>

/* Builtins that take pointers to _Atomic objects: each compiler has its own. */
#ifdef __clang__
#define FAULT_STORE_N(object, value, order)    __c11_atomic_store(object, value, order)
#define FAULT_EXCHANGE_N(object, value, order) __c11_atomic_exchange(object, value, order)
#define FAULT_CAS_N(object, expected, value, weak, order, fail)                                    \
    (weak ? __c11_atomic_compare_exchange_weak(object, expected, value, order, fail)               \
          : __c11_atomic_compare_exchange_strong(object, expected, value, order, fail))
#define FAULT_FETCH_N(operation, object, value, order)                                             \
    __c11_atomic_fetch_##operation(object, value, order)
#define FAULT_INIT_N(object, value) __c11_atomic_init(object, value)
#else
#define FAULT_STORE_N(object, value, order)    __atomic_store_n(object, value, order)
#define FAULT_EXCHANGE_N(object, value, order) __atomic_exchange_n(object, value, order)
#define FAULT_CAS_N(object, expected, value, weak, order, fail)                                    \
    __atomic_compare_exchange_n(object, expected, value, weak, order, fail)
#define FAULT_FETCH_N(operation, object, value, order)                                             \
    __atomic_fetch_##operation(object, value, order)
#define FAULT_INIT_N(object, value) __atomic_store_n(object, value, memory_order_relaxed)
#endif

#define FAULT_BEFORE(what, access) ((void)FAULT_HERE(what, FAULT_STORE, 0), access)

#undef atomic_init
#undef atomic_store
#undef atomic_store_explicit
#undef atomic_exchange
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_strong
#undef atomic_compare_exchange_strong_explicit
#undef atomic_compare_exchange_weak
#undef atomic_compare_exchange_weak_explicit
#undef atomic_fetch_add
#undef atomic_fetch_add_explicit
#undef atomic_fetch_sub
#undef atomic_fetch_sub_explicit
#undef atomic_fetch_or
#undef atomic_fetch_or_explicit
#undef atomic_fetch_and
#undef atomic_fetch_and_explicit
#undef atomic_fetch_xor
#undef atomic_fetch_xor_explicit

#define atomic_init(object, value) FAULT_BEFORE("store", FAULT_INIT_N(object, value))
#define atomic_store_explicit(object, value, order)                                                \
    FAULT_BEFORE("store", FAULT_STORE_N(object, value, order))
#define atomic_store(object, value) atomic_store_explicit(object, value, memory_order_seq_cst)
#define atomic_exchange_explicit(object, value, order)                                             \
    FAULT_BEFORE("exchange", FAULT_EXCHANGE_N(object, value, order))
#define atomic_exchange(object, value) atomic_exchange_explicit(object, value, memory_order_seq_cst)

#define atomic_compare_exchange_strong_explicit(object, expected, value, order, fail)              \
    FAULT_BEFORE("cas", FAULT_CAS_N(object, expected, value, 0, order, fail))
#define atomic_compare_exchange_strong(object, expected, value)                                    \
    atomic_compare_exchange_strong_explicit(object, expected, value, memory_order_seq_cst,         \
                                            memory_order_seq_cst)
#define atomic_compare_exchange_weak_explicit(object, expected, value, order, fail)                \
    FAULT_BEFORE("cas", FAULT_CAS_N(object, expected, value, 1, order, fail))
#define atomic_compare_exchange_weak(object, expected, value)                                      \
    atomic_compare_exchange_weak_explicit(object, expected, value, memory_order_seq_cst,           \
                                          memory_order_seq_cst)

#define atomic_fetch_add_explicit(object, value, order)                                            \
    FAULT_BEFORE("add", FAULT_FETCH_N(add, object, value, order))
#define atomic_fetch_add(object, value)                                                            \
    atomic_fetch_add_explicit(object, value, memory_order_seq_cst)
#define atomic_fetch_sub_explicit(object, value, order)                                            \
    FAULT_BEFORE("sub", FAULT_FETCH_N(sub, object, value, order))
#define atomic_fetch_sub(object, value)                                                            \
    atomic_fetch_sub_explicit(object, value, memory_order_seq_cst)
#define atomic_fetch_or_explicit(object, value, order)                                             \
    FAULT_BEFORE("or", FAULT_FETCH_N(or, object, value, order))
#define atomic_fetch_or(object, value) atomic_fetch_or_explicit(object, value, memory_order_seq_cst)
#define atomic_fetch_and_explicit(object, value, order)                                            \
    FAULT_BEFORE("and", FAULT_FETCH_N(and, object, value, order))
#define atomic_fetch_and(object, value)                                                            \
    atomic_fetch_and_explicit(object, value, memory_order_seq_cst)
#define atomic_fetch_xor_explicit(object, value, order)                                            \
    FAULT_BEFORE("xor", FAULT_FETCH_N(xor, object, value, order))
#define atomic_fetch_xor(object, value)                                                            \
    atomic_fetch_xor_explicit(object, value, memory_order_seq_cst)

#endif
