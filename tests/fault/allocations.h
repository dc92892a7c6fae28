/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Every allocation of the library is a fault point, "allocation", that can fail; and
 * all of them are counted, so that what is not given back is seen. The linker puts
 * these in the place of malloc() and its kin, for the modules and not for libc.
 */
#ifndef TESTS_FAULT_ALLOCATIONS_H
#define TESTS_FAULT_ALLOCATIONS_H

/* Allocated and not yet freed, in this process. */
long allocations_live(void);

#endif
