# SPDX-License-Identifier: BSD-3-Clause
"""What the study makes of its results: test_tables.py"""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "bench" / "study"))

import bare  # noqa: E402
import runs  # noqa: E402
import study  # noqa: E402
import tables  # noqa: E402


def users(per_second, route="cpu", statuses=None, lost=None, open=0, p50=5.0, p99=10.0):
    """Results of users who had so many successes in each of 18 seconds."""
    seconds = [per_second] * 18
    return {"route": route, "successes": sum(seconds), "seconds": seconds,
            "statuses": statuses or {"200": sum(seconds)}, "lost": lost or {}, "open": open,
            "ms": {"p50": p50, "p99": p99, "max": p99}}  # fmt: skip


def report(**results):
    """Results by name, with _ for /."""
    return {"machine": {"cpu": "a CPU", "cores": 2, "kernel": "6.1", "date": "2026-01-01",
                        "load_average": 0.5, "speedup": 1.98},
            "ramp": 6, "hold": 12, "window": 5, "latencies": [0, 100, 200],
            "runs": {name: result for name, result in results.items()}}  # fmt: skip


def result(*each, **more):
    return {"users": list(each), "kills": 0, "ended": None, **more}


class Figures(unittest.TestCase):
    def test_the_best_window_counts(self):
        self.assertEqual(tables.most_per_second([0, 10, 20, 0, 0], 2), 15)

    def test_a_run_shorter_than_the_window_has_its_rate_over_the_window(self):
        self.assertEqual(tables.most_per_second([10], 5), 2)
        self.assertEqual(tables.most_per_second([], 5), 0)

    def test_only_seconds_with_all_users_are_held(self):
        one = users(0)
        one["seconds"] = [1] * 6 + [7] * 12 + [1000]
        self.assertEqual(tables.held(report(), one), 7)

    def test_a_cell_has_rate_successes_and_failures(self):
        self.assertEqual(tables.cell(users(100), 5), "100 & 1,800")
        failed = users(1.5, statuses={"200": 27, "500": 1200}, lost={"reset": 34})
        self.assertEqual(tables.cell(failed, 5), "1.5 & 27.0 (1,234 failed)")

    def test_created_is_no_failure(self):
        self.assertEqual(tables.failures(users(1, statuses={"201": 18})), {})


class Tables(unittest.TestCase):
    def test_every_row_has_as_many_cells_as_the_head(self):
        text = tables.markdown(report(**{"cpu/0/pool": result(users(5))}))
        widths = {}
        for block in text.split("\n\n"):
            lines = [line.count("|") for line in block.splitlines() if line.startswith("|")]
            self.assertEqual(len(set(lines)), 1 if lines else 0, block)
            widths[block] = lines
        self.assertTrue(any(widths.values()))

    def test_a_cell_stands_in_the_column_of_its_server(self):
        text = tables.markdown(report(**{"io_read/100/async": result(users(5))}))
        (row,) = [line for line in text.splitlines() if "5.0 & 90" in line]
        column = 2 + list(runs.SERVERS).index("async")
        self.assertTrue(row.startswith("| 100 |"))
        self.assertEqual(row.split("|")[column].strip(), "5.0 & 90")

    def test_tables_without_results_are_left_out(self):
        text = tables.markdown(report())
        self.assertNotIn("Table 4", text)
        self.assertNotIn("## Goals", text)
        self.assertNotIn("## Failures", text)

    def test_it_says_who_divided_the_cpus(self):
        def mixed(shares):
            each = result(users(5), shares=True), result(users(5), users(1), users(1), shares=shares)
            return tables.markdown(report(**dict(zip(["alone/pool", "mixed/pool"], each))))

        self.assertIn("have a cgroup each", mixed(True))
        self.assertIn("no cgroups", mixed(False))

    def test_failures_are_named_and_so_is_what_is_missing(self):
        text = tables.markdown(report(**{
            "cpu/0/pool": {"absent": "web was not built"},
            "cpu/0/sync": result(users(1, lost={"refused": 3}), ended=1),
        }))  # fmt: skip
        self.assertIn("- `cpu/0/pool`: absent: web was not built", text)
        self.assertIn("- `cpu/0/sync`, cpu: refused: 3", text)
        self.assertIn("the server ended by itself, with status 1", text)


class Goals(unittest.TestCase):
    def goals(self, **results):
        return tables.goals(report(**results))

    def test_latency_may_cost_less_than_a_tenth(self):
        def paced(rate):
            return self.goals(**{"paced/io_read/0": result(users(100)),
                                 "paced/io_read/200": result(users(rate))})  # fmt: skip

        self.assertTrue(paced(91)[0].startswith("- met"))
        self.assertTrue(paced(90)[0].startswith("- **missed**"))

    def test_the_pool_is_held_against_the_better_single_process(self):
        def cpu(sync, pool):
            cells = {"cpu/0/sync": sync, "cpu/0/async": 90, "cpu/0/pool": pool}
            return self.goals(**{name: result(users(rate)) for name, rate in cells.items()})[0]

        self.assertTrue(cpu(100, 190).startswith("- met"))
        self.assertTrue(cpu(101, 190).startswith("- **missed**"))

    def test_of_several_turns_the_middle_ratio_counts(self):
        def turns(*rates):
            each = [result(users(rate)) for rate in rates]
            return {**each[0], "turns": each}

        (line,) = self.goals(**{"cpu/0/sync": turns(100, 50, 100), "cpu/0/async": turns(10, 10, 10),
                                "cpu/0/pool": turns(195, 99, 150)})[:1]  # fmt: skip
        self.assertTrue(line.startswith("- met"))
        self.assertIn("1.95, 1.50 to 1.98 in 3 turns", line)

    def test_turns_of_different_calls_are_not_paired(self):
        def turns(call, *rates):
            each = [result(users(rate), call=call) for rate in rates]
            return {**each[1], "turns": each}

        (line,) = self.goals(**{"cpu/0/sync": turns(1, 10, 50, 90), "cpu/0/async": turns(1, 1, 1, 1),
                                "cpu/0/pool": turns(2, 200, 100, 20)})[:1]  # fmt: skip
        self.assertIn("(2.00;", line)

    def test_the_tail_may_grow_as_the_share_falls(self):
        def mixed(rate, p99):
            return self.goals(**{"alone/pool": result(users(100, p99=10.0)),
                                 "mixed/pool": result(users(rate, p99=p99))})[0]  # fmt: skip

        self.assertTrue(mixed(50, 23).startswith("- met"))
        self.assertTrue(mixed(50, 25).startswith("- **missed**"))
        self.assertTrue(mixed(100, 13).startswith("- **missed**"))

    def test_the_tail_may_be_as_long_as_that_of_bare_processes(self):
        def mixed(p50, p99):
            return self.goals(**{"mixed/bare": result(users(100, p50=10.0, p99=20.0)),
                                 "mixed/pool": result(users(50, p50=p50, p99=p99))})[0]  # fmt: skip

        self.assertTrue(mixed(20, 47).startswith("- met"))
        self.assertTrue(mixed(20, 49).startswith("- **missed**"))
        self.assertTrue(mixed(10, 25).startswith("- **missed**"))

    def test_cells_where_another_is_better_are_named(self):
        (line,) = self.goals(**{"cpu/0/pool": result(users(80)),
                                "cpu/0/django_sync": result(users(100))})  # fmt: skip
        self.assertIn("**missed**", line)
        self.assertIn("0.80 of cpu/0/django_sync", line)

    def test_requests_that_stay_open_are_lost(self):
        (line,) = self.goals(**{"kill/cpu": result(users(9, open=2), kills=17)})
        self.assertTrue(line.startswith("- **missed**"))
        answered = users(9, statuses={"200": 162, "503": 4})
        (line,) = self.goals(**{"kill/cpu": result(answered, kills=17)})
        self.assertTrue(line.startswith("- met"))

    def test_without_kills_nothing_is_shown(self):
        (line,) = self.goals(**{"kill/cpu": result(users(9))})
        self.assertTrue(line.startswith("- **missed**"))
        self.assertIn("no worker of `cpu` was killed", line)

    def test_what_any_turn_lost_is_lost(self):
        each = [result(users(9), kills=17), result(users(9, lost={"reset": 1}), kills=17)]
        one = {**each[0], "turns": each}
        (line,) = self.goals(**{"kill/cpu": one})
        self.assertTrue(line.startswith("- **missed**"))
        self.assertIn("- `kill/cpu`, cpu: reset: 1", tables.markdown(report(**{"kill/cpu": one})))


class Turns(unittest.TestCase):
    def test_the_median_of_successes_is_chosen(self):
        each = [result(users(rate)) for rate in (3, 1, 2)]
        self.assertEqual(study.middle(each)["users"], each[2]["users"])
        self.assertEqual(study.middle(each)["turns"], each)

    def test_of_two_it_is_the_lower_one(self):
        each = [result(users(rate)) for rate in (3, 1)]
        self.assertEqual(study.middle(each)["users"], each[1]["users"])

    def test_a_run_that_failed_once_failed(self):
        failed = {"failed": "no server"}
        self.assertEqual(study.middle([result(users(1)), failed, result(users(1))]), failed)


class Bare(unittest.TestCase):
    def test_users_wait_for_those_before_them(self):
        self.assertEqual(bare.waits([1, 2, 4, 5], 2, 0, 0), [1000, 2000, 3000, 3000])

    def test_times_are_those_of_who_came_after_the_ramp(self):
        self.assertEqual(bare.waits([1, 2, 4, 5], 2, 0, 2), [3000])

    def test_it_reports_as_a_load_does(self):
        told = bare.report([10.5, 10.6, 12.0], 2, 10.0, 0)
        self.assertEqual((told["successes"], told["seconds"]), (3, [2, 0, 1]))
        self.assertAlmostEqual(told["ms"]["max"], 1500)


class Chart(unittest.TestCase):
    def test_zero_is_not_drawn(self):
        text = tables.chart(report(**{"cpu/0/pool": result(users(5)),
                                      "cpu/100/pool": result(users(0))}))  # fmt: skip
        self.assertIn("0 5.0", text)
        self.assertNotIn("\n100 ", text)

    def test_there_is_none_without_results(self):
        self.assertIsNone(tables.chart(report()))


if __name__ == "__main__":
    unittest.main()
