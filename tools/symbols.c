/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/symbols.h"

#include "base/error.h"

#include <elfutils/libdwfl.h>
#include <stdlib.h>
#include <string.h>

struct symbols {
    Dwfl *dwfl;
};

static const Dwfl_Callbacks callbacks = {
    .find_elf = dwfl_linux_proc_find_elf,
    .find_debuginfo = dwfl_standard_find_debuginfo,
};

static int report(struct symbols *symbols, pid_t pid)
{
    /* Debug information from the network can take minutes: only what is here. */
    unsetenv("DEBUGINFOD_URLS");
    symbols->dwfl = dwfl_begin(&callbacks);
    if (symbols->dwfl == NULL)
        return error_set(-ENOMEM, "libdw cannot be used: %s", dwfl_errmsg(-1));
    int result = dwfl_linux_proc_report(symbols->dwfl, pid);
    if (result > 0)
        return error_system(-result, "the memory map of process %d cannot be read", (int)pid);
    if (result < 0 || dwfl_report_end(symbols->dwfl, NULL, NULL) != 0)
        return error_set(-EIO, "the memory map of process %d cannot be read: %s", (int)pid,
                         dwfl_errmsg(-1));
    return 0;
}

struct symbols *symbols_open(pid_t pid)
{
    struct symbols *symbols = calloc(1, sizeof(*symbols));
    if (symbols == NULL) {
        error_set(-ENOMEM, "no memory for the symbols of process %d", (int)pid);
        return NULL;
    }
    if (report(symbols, pid) < 0) {
        symbols_close(symbols);
        return NULL;
    }
    return symbols;
}

void symbols_close(struct symbols *symbols)
{
    if (symbols != NULL && symbols->dwfl != NULL)
        dwfl_end(symbols->dwfl);
    free(symbols);
}

static const char *without_directory(const char *path)
{
    const char *slash = path != NULL ? strrchr(path, '/') : NULL;
    return slash != NULL ? slash + 1 : path;
}

struct symbol symbols_find(struct symbols *symbols, uint64_t address, bool returns)
{
    struct symbol symbol = {0};
    /* The instruction before: a call can be the last of its function. */
    Dwarf_Addr place = returns ? address - 1 : address, start = 0;
    Dwfl_Module *module = dwfl_addrmodule(symbols->dwfl, place);
    GElf_Off offset;
    GElf_Sym entry;
    if (module == NULL)
        return symbol;
    symbol.module =
        without_directory(dwfl_module_info(module, NULL, &start, NULL, NULL, NULL, NULL, NULL));
    symbol.offset = address - start;
    symbol.function = dwfl_module_addrinfo(module, place, &offset, &entry, NULL, NULL, NULL);
    if (symbol.function != NULL)
        symbol.offset = offset + (address - place);
    Dwfl_Line *line = dwfl_module_getsrc(module, place);
    if (line != NULL)
        symbol.file = dwfl_lineinfo(line, NULL, &symbol.line, NULL, NULL, NULL);
    return symbol;
}
