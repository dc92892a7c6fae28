/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Named places at which a test can have a process die. In the library as it
 * ships FAULT_POINT() is nothing; the tests build the same sources with
 * MC_FAULTS. What is armed lies in memory shared by all processes of the pool
 * that is opened afterwards, so a fault strikes once, not in each successor.
 */
#ifndef BASE_FAULT_H
#define BASE_FAULT_H

#ifdef MC_FAULTS
#define FAULT_POINT(name) fault_hit(name)
void fault_hit(const char *name);
#else
#define FAULT_POINT(name) ((void)0)
#endif

/* The process that passes `name` for the countdown-th time from now kills
 * itself with signal. One fault is armed at a time; name NULL disarms. */
void fault_arm(const char *name, int signal, int countdown);
/* True once the armed fault has struck. */
int fault_struck(void);

#endif
