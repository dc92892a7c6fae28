/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Usable CPUs: affinity mask, CPU quota, order of cores.
 */
#include "loadavg/cgroup.h"
#include "multicore.h"
#include "pool/topology.h"
#include "tests/test.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct topology topology;

static struct cgroup_limit limit_of(const char *fixture)
{
    char root[256];
    struct cgroup_limit limit;
    snprintf(root, sizeof(root), "%s/proc/%s", TEST_DATA, fixture);
    memset(&limit, 0xff, sizeof(limit));
    cgroup_limit_read(root, &limit);
    return limit;
}

static void read_fixture(const char *fixture)
{
    char root[256];
    snprintf(root, sizeof(root), "%s/proc/%s", TEST_DATA, fixture);
    ck_assert_int_eq(topology_read_at(root, &topology), 0);
}

static void expect_limit(const char *fixture, uint32_t quota_milli, const char *pressure)
{
    struct cgroup_limit limit = limit_of(fixture);
    ck_assert_msg(limit.quota_milli == quota_milli, "%s: %u", fixture, limit.quota_milli);
    char expected[CGROUP_PATH_SIZE] = "";
    if (pressure != NULL)
        snprintf(expected, sizeof(expected), "%s/proc/%s/sys/fs/cgroup%s/cpu.pressure", TEST_DATA,
                 fixture, pressure);
    ck_assert_str_eq(limit.pressure_path, expected);
}

START_TEST(no_quota_is_no_limit)
{
    expect_limit("v1-unlimited", UINT32_MAX, NULL);
    expect_limit("v2-unlimited", UINT32_MAX, NULL);
}
END_TEST

START_TEST(no_cgroups_are_no_limit)
{
    expect_limit("nowhere", UINT32_MAX, NULL);
}
END_TEST

START_TEST(fractional_quota)
{
    expect_limit("v1-fractional", 500, NULL);
    expect_limit("v2-fractional", 500, "/app");
}
END_TEST

START_TEST(smallest_quota_of_the_path_counts)
{
    expect_limit("v1-parent-limits", 1500, NULL);
    expect_limit("v2-parent-limits", 2001, "/pods/app");
}
END_TEST

START_TEST(container_sees_its_own_top)
{
    expect_limit("v1-container", 3000, NULL);
    expect_limit("v2-namespace", 1000, "");
    expect_limit("v2-outside", 3000, NULL);
}
END_TEST

START_TEST(quota_of_v1_takes_the_pressure_of_v2)
{
    expect_limit("v1-hybrid", 500, "/unified/app");
}
END_TEST

START_TEST(mount_points_are_unescaped)
{
    expect_limit("v1-space-in-path", 700, NULL);
}
END_TEST

START_TEST(pressure_may_be_missing)
{
    expect_limit("v2-without-pressure", 100, NULL);
}
END_TEST

START_TEST(malformed_files_limit_nothing)
{
    expect_limit("bad-cgroup", UINT32_MAX, NULL);
    expect_limit("bad-max", UINT32_MAX, NULL);
}
END_TEST

START_TEST(quota_texts)
{
    ck_assert_uint_eq(cgroup_parse_max("max 100000\n"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("100000 100000\n"), 1000);
    ck_assert_uint_eq(cgroup_parse_max("1000 1000000"), 1);
    ck_assert_uint_eq(cgroup_parse_max("200001 100000"), 2001);
    ck_assert_uint_eq(cgroup_parse_max("18446744073709551615 1"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("18446744073709551616 1"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("1 18446744073709551615"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("0 100000"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("100000 0"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max("100000"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_max(""), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_cfs("-1\n", "100000\n"), UINT32_MAX);
    ck_assert_uint_eq(cgroup_parse_cfs("25000\n", "50000\n"), 500);
    ck_assert_uint_eq(cgroup_parse_cfs("25000\n", ""), UINT32_MAX);
}
END_TEST

START_TEST(mount_lines)
{
    struct cgroup_mount mount;
    char v1[] = "33 31 0:30 /docker/1 /sys/fs/cgroup/cpu rw shared:1 master:2 - cgroup c rw,cpu\n";
    ck_assert(cgroup_parse_mount(v1, &mount));
    ck_assert(!mount.unified);
    ck_assert_str_eq(mount.top, "/docker/1");
    ck_assert_str_eq(mount.point, "/sys/fs/cgroup/cpu");
    char v2[] = "33 31 0:30 / /sys/fs/c\\040g\\134 rw - cgroup2 c rw\n";
    ck_assert(cgroup_parse_mount(v2, &mount));
    ck_assert(mount.unified);
    ck_assert_str_eq(mount.point, "/sys/fs/c g\\");
    char cpuset[] = "33 31 0:30 / /sys/fs/cgroup/cpuset rw - cgroup c rw,cpuset,cpuacct\n";
    ck_assert(!cgroup_parse_mount(cpuset, &mount));
    char other[] = "33 31 0:30 / / rw - ext4 /dev/sda1 rw,cpu\n";
    ck_assert(!cgroup_parse_mount(other, &mount));
}
END_TEST

START_TEST(membership_lines)
{
    bool unified;
    const char *path;
    char v2[] = "0::/a:b\n";
    ck_assert(cgroup_parse_membership(v2, &unified, &path));
    ck_assert(unified);
    ck_assert_str_eq(path, "/a:b");
    char v1[] = "5:cpuacct,cpu:/docker\n";
    ck_assert(cgroup_parse_membership(v1, &unified, &path));
    ck_assert(!unified);
    ck_assert_str_eq(path, "/docker");
    char cpuset[] = "5:cpuset:/docker\n";
    ck_assert(!cgroup_parse_membership(cpuset, &unified, &path));
    char named[] = "5:name=cpu:/docker\n";
    ck_assert(!cgroup_parse_membership(named, &unified, &path));
}
END_TEST

START_TEST(every_cut_of_a_line_is_survived)
{
    static const char mount_line[] = "33 31 0:30 /a\\040b /sys rw shared:1 - cgroup c rw,cpu\n";
    static const char member_line[] = "5:cpuacct,cpu:/docker\n";
    for (size_t cut = 0; cut < sizeof(mount_line); cut++) {
        struct cgroup_mount mount;
        char *line = strndup(mount_line, cut);
        cgroup_parse_mount(line, &mount);
        free(line);
    }
    for (size_t cut = 0; cut < sizeof(member_line); cut++) {
        bool unified;
        const char *path;
        char *line = strndup(member_line, cut);
        cgroup_parse_membership(line, &unified, &path);
        free(line);
    }
}
END_TEST

START_TEST(usable_are_the_cpus_of_the_mask)
{
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof(set), &set), 0);
    read_fixture("v2-unlimited");
    ck_assert_uint_eq(topology.cpu_count, (unsigned)CPU_COUNT(&set));
    ck_assert_uint_eq(topology.usable, topology.cpu_count);
    ck_assert(!topology.quota_limits);
    ck_assert_str_eq(topology.pressure, "");
    for (unsigned i = 0; i < topology.cpu_count; i++)
        ck_assert(CPU_ISSET(topology.cpus[i], &set));
}
END_TEST

START_TEST(quota_below_one_core_leaves_one)
{
    read_fixture("v2-without-pressure");
    ck_assert_uint_eq(topology.usable, 1);
    ck_assert(topology.quota_limits);
}
END_TEST

START_TEST(quota_is_rounded_up_to_cores)
{
    read_fixture("v1-parent-limits");
    ck_assert_uint_eq(topology.usable, topology.cpu_count < 2 ? 1 : 2);
    read_fixture("v2-parent-limits");
    ck_assert_uint_eq(topology.usable, topology.cpu_count < 3 ? topology.cpu_count : 3);
    ck_assert_int_eq(topology.quota_limits, topology.cpu_count > 2);
}
END_TEST

START_TEST(limiting_quota_tells_where_its_pressure_is)
{
    read_fixture("v2-fractional");
    ck_assert(topology.quota_limits);
    ck_assert_ptr_nonnull(strstr(topology.pressure, "/v2-fractional/sys/fs/cgroup/app/cpu.press"));
}
END_TEST

/* In a process of its own, as the mask would stay. */
START_TEST(narrowed_mask_is_seen_by_all_readers)
{
    pid_t child = fork();
    if (child == 0) {
        cpu_set_t one;
        topology_read(&topology);
        unsigned last = topology.cpus[topology.cpu_count - 1];
        CPU_ZERO(&one);
        CPU_SET(last, &one);
        bool passed = sched_setaffinity(0, sizeof(one), &one) == 0 &&
                      topology_read(&topology) == 0 && topology.cpu_count == 1 &&
                      topology.usable == 1 && topology.cpus[0] == last && mc_usable_cores() == 1;
        _exit(passed ? 0 : 1);
    }
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_int_eq(status, 0);
}
END_TEST

START_TEST(usable_cores_is_what_the_topology_says)
{
    ck_assert_int_eq(topology_read(&topology), 0);
    ck_assert_uint_eq(mc_usable_cores(), topology.usable);
}
END_TEST

START_TEST(spread_keeps_the_set_of_cpus)
{
    bool seen[TOPOLOGY_CPU_MAX] = {false};
    ck_assert_int_eq(topology_read(&topology), 0);
    static struct topology before;
    before = topology;
    topology_spread(&topology, 1);
    ck_assert_uint_eq(topology.cpu_count, before.cpu_count);
    for (unsigned i = 0; i < topology.cpu_count; i++)
        seen[topology.cpus[i]] = true;
    for (unsigned i = 0; i < before.cpu_count; i++)
        ck_assert(seen[before.cpus[i]]);
}
END_TEST

START_TEST(spread_with_a_worker_per_cpu_changes_nothing)
{
    ck_assert_int_eq(topology_read(&topology), 0);
    static struct topology before;
    before = topology;
    ck_assert_int_eq(topology_spread(&topology, topology.cpu_count), 0);
    ck_assert_mem_eq(&topology, &before, sizeof(before));
}
END_TEST

/* Numbers the CPUs 0, 1, ... and gives per_core neighbours one core. */
static void order_neighbours(unsigned count, unsigned per_core, unsigned first)
{
    static uint16_t core_of[TOPOLOGY_CPU_MAX];
    topology.cpu_count = count;
    for (unsigned i = 0; i < count; i++) {
        topology.cpus[i] = (uint16_t)i;
        core_of[i] = (uint16_t)(i / per_core);
    }
    topology_order(&topology, core_of, first);
}

START_TEST(each_core_comes_once_before_any_comes_twice)
{
    static const uint16_t expected[] = {0, 2, 4, 6, 1, 3, 5, 7};
    order_neighbours(8, 2, 0);
    ck_assert_mem_eq(topology.cpus, expected, sizeof(expected));
}
END_TEST

START_TEST(order_begins_with_the_given_cpu)
{
    static const uint16_t expected[] = {5, 6, 0, 2, 7, 1, 3, 4};
    order_neighbours(8, 2, 5);
    ck_assert_mem_eq(topology.cpus, expected, sizeof(expected));
    static const uint16_t plain[] = {0, 1, 2};
    order_neighbours(3, 1, TOPOLOGY_CPU_MAX);
    ck_assert_mem_eq(topology.cpus, plain, sizeof(plain));
}
END_TEST

START_TEST(order_of_random_machines_uses_distinct_cores_first)
{
    const char *chosen = getenv("TEST_SEED");
    unsigned seed = chosen != NULL ? (unsigned)strtoul(chosen, NULL, 0) : (unsigned)time(NULL);
    printf("TEST_SEED=%u\n", seed);
    srandom(seed);
    for (int i = 0; i < 2000; i++) {
        unsigned per_core = 1 + (unsigned)random() % 4;
        unsigned count = 1 + (unsigned)random() % 300;
        unsigned cores = (count + per_core - 1) / per_core;
        bool seen[300] = {false};
        order_neighbours(count, per_core, (unsigned)random() % (2 * count));
        bool good = true;
        for (unsigned cpu = 0; cpu < count; cpu++) {
            unsigned core = topology.cpus[cpu] / per_core;
            good = good && (cpu >= cores || !seen[core]);
            seen[core] = true;
        }
        for (unsigned core = 0; core < cores; core++)
            good = good && seen[core];
        ck_assert_msg(good, "%u CPUs, %u to a core", count, per_core);
    }
}
END_TEST

START_TEST(largest_machine_is_ordered)
{
    order_neighbours(TOPOLOGY_CPU_MAX, TOPOLOGY_CPU_MAX, 1);
    ck_assert_uint_eq(topology.cpus[0], 1);
    ck_assert_uint_eq(topology.cpus[TOPOLOGY_CPU_MAX - 1], 0);
}
END_TEST

TEST_MAIN(topology, no_quota_is_no_limit, no_cgroups_are_no_limit, fractional_quota,
          smallest_quota_of_the_path_counts, container_sees_its_own_top,
          quota_of_v1_takes_the_pressure_of_v2, mount_points_are_unescaped, pressure_may_be_missing,
          malformed_files_limit_nothing, quota_texts, mount_lines, membership_lines,
          every_cut_of_a_line_is_survived, usable_are_the_cpus_of_the_mask,
          quota_below_one_core_leaves_one, quota_is_rounded_up_to_cores,
          limiting_quota_tells_where_its_pressure_is, narrowed_mask_is_seen_by_all_readers,
          usable_cores_is_what_the_topology_says, spread_keeps_the_set_of_cpus,
          spread_with_a_worker_per_cpu_changes_nothing, each_core_comes_once_before_any_comes_twice,
          order_begins_with_the_given_cpu, order_of_random_machines_uses_distinct_cores_first,
          largest_machine_is_ordered)
