/* SPDX-License-Identifier: BSD-3-Clause
 *
 * Setting up modules: in which order, side by side, with the same outcome whoever is
 * quicker; and whose fault it is when it fails.
 */
#include "base/error.h"
#include "base/sys.h"
#include "pool/modules.h"
#include "tests/system/server.h"

#include <sys/mman.h>
#include <sys/wait.h>

enum { NODES = 6 };

/* In this order; "web" requires "db" and "cache", and these "base"; "lone" and "island"
 * require nothing. */
static const char *const nodes[NODES] = {"web", "lone", "cache", "db", "island", "base"};
static struct setting settings[NODES][2];
static struct module_spec specs[NODES];
static char paths[NODES][256];

static struct server server;

static struct setting *settings_of(const char *node)
{
    int i = 0;
    while (strcmp(nodes[i], node) != 0)
        i++;
    return settings[i];
}

static void prepare(void)
{
    board_open();
    server_prepare(&server);
    for (int i = 0; i < NODES; i++) {
        snprintf(paths[i], sizeof(paths[i]), "%s/%s.so", TEST_GRAPH, nodes[i]);
        settings[i][0] = (struct setting){"delay-us", "2000"};
        settings[i][1] = (struct setting){"nothing", ""};
        specs[i] =
            (struct module_spec){.path = paths[i], .settings = settings[i], .setting_count = 2};
    }
    server.options.modules = specs;
    server.options.module_count = NODES;
}

static void set(const char *node, char *key, char *value)
{
    settings_of(node)[1] = (struct setting){key, value};
}

/* ---- in a process of its own ---- */

/* What came of loading them: the error, or the state and the log. */
static struct outcome {
    size_t used;
    char text[4096];
} * outcome;

static void put(const char *text)
{
    size_t size = strlen(text);
    if (outcome->used + size < sizeof(outcome->text))
        memcpy(outcome->text + outcome->used, text, size + 1);
    outcome->used += size;
}

void graph_log(const char *module, const char *what, uint64_t value);
void graph_log(const char *module, const char *what, uint64_t value)
{
    char line[128];
    snprintf(line, sizeof(line), "%s %s %llx\n", module, what, (unsigned long long)value);
    if (outcome != NULL)
        put(line);
}

static void load_here(void)
{
    struct config *config;
    char line[128];
    if (config_create(&server.options.pool, &server.options, &config) < 0)
        _exit(2);
    if (modules_load(config) < 0) {
        outcome->used = 0;
        put(error_message());
        _exit(0);
    }
    for (uint32_t i = 0; i < config->handler_count; i++) {
        snprintf(line, sizeof(line), "handler %s %u\n", config->handlers[i].name,
                 config->handlers[i].module);
        put(line);
    }
    put(sys_thread_count() == 1 ? "one thread\n" : "threads\n");
    _exit(0);
}

static void load_once(struct outcome *into)
{
    outcome->used = 0;
    pid_t child = fork();
    if (child == 0)
        load_here();
    int status = await_exit(child);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "status %x", status);
    *into = *outcome;
}

static void expect_always(int times, const char *words)
{
    static struct outcome serial, parallel;
    outcome =
        mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ck_assert_ptr_ne(outcome, MAP_FAILED);
    server.options.serial_load = 1;
    load_once(&serial);
    ck_assert_msg(strstr(serial.text, words) != NULL, "%s", serial.text);
    server.options.serial_load = 0;
    for (int i = 0; i < times; i++) {
        load_once(&parallel);
        ck_assert_msg(strcmp(parallel.text, serial.text) == 0, "round %d:\n%s\nnot\n%s", i,
                      parallel.text, serial.text);
    }
    server_remove(&server);
}

START_TEST(loading_has_the_same_outcome_whoever_is_quicker)
{
    prepare();
    expect_always(1000, "lone configure 0\nisland configure 0\nbase configure 0\n"
                        "cache configure 0\ndb configure 0\nweb configure 0\n");
}
END_TEST

START_TEST(of_several_that_fail_the_first_in_order_is_reported)
{
    prepare();
    set("web", "refuse", "load");
    set("db", "refuse", "load");
    set("island", "refuse", "load");
    expect_always(200, "module 'island': load: told to refuse");
}
END_TEST

/* ---- whose fault it is ---- */

static void expect_no_start(const char *words)
{
    server_start(&server);
    int status = await_exit(server.pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 1, "status %x", status);
    ck_assert_msg(strstr(server.told->text, words) != NULL, "%s", server.told->text);
    server_remove(&server);
}

static void expect_blame(const char *node, char *key, char *phase, const char *words)
{
    prepare();
    set(node, key, phase);
    if (strcmp(key, "hang") == 0)
        server.options.load_timeout_ms = 500;
    expect_no_start(words);
}

START_TEST(a_refusal_is_named_with_module_and_phase)
{
    expect_blame("db", "refuse", "configure", "module 'db': configure: told to refuse");
    expect_blame("web", "refuse", "ready", "module 'web': ready: told to refuse");
    expect_blame("lone", "refuse", "worker_init", "module 'lone': told to refuse");
}
END_TEST

START_TEST(a_crash_is_named_with_module_and_phase)
{
    expect_blame("db", "crash", "configure", "(Segmentation fault): module 'db' was in configure");
    expect_blame("db", "crash", "load", "(Segmentation fault): module 'db' was in load");
    expect_blame("web", "crash", "ready", "(Segmentation fault): module 'web' was in ready");
    expect_blame("cache", "overflow", "load", "(Segmentation fault): module 'cache' was in load");
    expect_blame("base", "quit", "ready", "with status 3: module 'base' was in ready");
    expect_blame("db", "crash", "worker_init",
                 "(Segmentation fault) in worker_init of module 'db'");
}
END_TEST

START_TEST(a_hang_is_named_with_module_and_phase)
{
    expect_blame("db", "hang", "configure", "took over 500 ms (load-timeout): module 'db' was in");
    expect_blame("web", "hang", "load",
                 "took over 500 ms (load-timeout): module 'web' was in load");
    expect_blame("web", "hang", "worker_init", "(load-timeout) in worker_init of module 'web'");
}
END_TEST

START_TEST(a_thread_left_behind_is_named_with_its_module)
{
    expect_blame("db", "leave", "configure", "module 'db' left a thread behind in configure");
    expect_blame("cache", "leave", "load", "module 'cache' left a thread behind in load");
    expect_blame("lone", "rename", "load", "left a thread behind in load");
    expect_blame("web", "leave", "ready", "module 'web' left a thread behind in ready");
    prepare();
    set("lone", "rename", "load");
    server.options.serial_load = 1;
    expect_no_start("module 'lone' left a thread behind in load");
}
END_TEST

START_TEST(what_is_not_required_cannot_be_imported_although_it_is_there)
{
    expect_blame("web", "import", "base",
                 "load: module 'web' uses 'base', which it does not require: write .requires = "
                 "(const char *const[]){\"db\", \"cache\", \"base\", NULL}");
    expect_blame("lone", "import", "nowhere",
                 "module 'lone' uses 'nowhere', which it does not require: write .requires = "
                 "(const char *const[]){\"nowhere\", NULL}");
    expect_blame("web", "late", "island", "worker_init: module 'web' uses 'island'");
}
END_TEST

START_TEST(a_requirement_that_is_missing_is_named)
{
    prepare();
    server.options.module_count = NODES - 1;
    expect_no_start("module 'cache' requires 'base', which is not there: configure it too");
}
END_TEST

START_TEST(a_module_that_is_there_twice_is_named)
{
    prepare();
    specs[1] = specs[2];
    expect_no_start("module 'cache' is there twice");
}
END_TEST

START_TEST(a_set_up_with_modules_that_require_each_other_works)
{
    prepare();
    server_start(&server);
    mc_pool *pool = attach(&server, NULL, 0);
    mc_group *group = open_unhelped(pool);
    for (int i = 0; i < NODES; i++)
        run(group, nodes[i], NULL, 0);
    wait_all(group);
    ck_assert_uint_eq(failures(group), 0);
    mc_group_close(group);
    mc_pool_close(pool);
    server_end(&server);
}
END_TEST

TEST_MAIN(modules, loading_has_the_same_outcome_whoever_is_quicker,
          of_several_that_fail_the_first_in_order_is_reported,
          a_refusal_is_named_with_module_and_phase, a_crash_is_named_with_module_and_phase,
          a_hang_is_named_with_module_and_phase, a_thread_left_behind_is_named_with_its_module,
          what_is_not_required_cannot_be_imported_although_it_is_there,
          a_requirement_that_is_missing_is_named, a_module_that_is_there_twice_is_named,
          a_set_up_with_modules_that_require_each_other_works)
