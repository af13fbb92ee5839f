/* SPDX-License-Identifier: Apache-2.0
 *
 * One line, and the end. The process is lost by then, so nothing here minds that it may be inside a signal's handler.
 */
#include "emulator.h"

#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* The function's symbol in the table of the whole file, where static ones are too; "" = not found. */
static const char *symbol_in(const char *file, uintptr_t offset)
{
    const Elf64_Ehdr *header = reinterpret_cast<const Elf64_Ehdr *>(file);
    const Elf64_Shdr *sections = reinterpret_cast<const Elf64_Shdr *>(file + header->e_shoff);
    for (int i = 0; i < header->e_shnum; i++) {
        if (sections[i].sh_type != SHT_SYMTAB)
            continue;
        const Elf64_Sym *symbols = reinterpret_cast<const Elf64_Sym *>(file + sections[i].sh_offset);
        const char *names = file + sections[sections[i].sh_link].sh_offset;
        for (size_t k = 0; k < sections[i].sh_size / sizeof *symbols; k++)
            if (ELF64_ST_TYPE(symbols[k].st_info) == STT_FUNC && offset - symbols[k].st_value < symbols[k].st_size)
                return names + symbols[k].st_name;
    }
    return "";
}

static const char *mapped(const char *path, size_t *bytes)
{
    struct stat status;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool found = file >= 0 && fstat(file, &status) == 0 && status.st_size > static_cast<off_t>(sizeof(Elf64_Ehdr));
    void *memory =
        found ? mmap(NULL, static_cast<size_t>(status.st_size), PROT_READ, MAP_PRIVATE, file, 0) : MAP_FAILED;
    if (file >= 0)
        close(file);
    if (memory == MAP_FAILED)
        return NULL;
    *bytes = static_cast<size_t>(status.st_size);
    const char *magic = static_cast<const char *>(memory);
    if (memcmp(magic, ELFMAG, SELFMAG) == 0 && magic[EI_CLASS] == ELFCLASS64)
        return magic;
    munmap(memory, *bytes);
    return NULL;
}

/* "void few_rows<float, 1>(nn_cuda_linear) [clone .lto]" to "few_rows<float, 1>". */
static void shorten(const char *symbol, char *name, size_t size)
{
    int status = -1;
    char *plain = abi::__cxa_demangle(symbol, NULL, NULL, &status);
    const char *text = plain ? plain : symbol;
    int depth = 0;
    size_t used = 0;
    for (const char *at = text; *at && used + 1 < size && !(*at == '(' && depth == 0 && used); at++) {
        depth += (*at == '<') - (*at == '>');
        if (*at == ' ' && depth == 0)
            used = 0;
        else
            name[used++] = *at;
    }
    name[used] = '\0';
    free(plain);
}

/* The file that the address is in, and where; NULL = in none. */
static const char *module_of(const void *address, uintptr_t *offset)
{
    Dl_info info;
    link_map *module = NULL;
    if (!address || !dladdr1(address, &info, reinterpret_cast<void **>(&module), RTLD_DL_LINKMAP) || !module)
        return NULL;
    *offset = reinterpret_cast<uintptr_t>(address) - module->l_addr;
    return *module->l_name ? module->l_name : "/proc/self/exe";
}

void emu_symbol(const void *address, char *name, size_t size)
{
    uintptr_t offset = 0;
    size_t bytes = 0;
    const char *path = module_of(address, &offset), *file = path ? mapped(path, &bytes) : NULL;
    const char *symbol = file ? symbol_in(file, offset) : "";
    if (*symbol)
        shorten(symbol, name, size);
    else
        snprintf(name, size, "%p", address);
    if (file)
        munmap(const_cast<char *>(file), bytes);
}

void emu_place(const void *address, char *place, size_t size)
{
    uintptr_t offset = 0;
    const char *path = module_of(address, &offset);
    emu_symbol(address, place, size);
    size_t length = strlen(place);
    if (path)
        snprintf(place + length, size - length, " (%s+0x%zx)", emu_file(path), static_cast<size_t>(offset));
}

/* ---- Failing ----------------------------------------------------------------------------------------------------- */

const char *emu_actor(char *text, size_t size)
{
    const emu_work *work = emu_running();
    snprintf(text, size, "%s", !work ? "the host" : work->name ? work->name : "kernel ");
    if (!work || work->name)
        return text;
    const uint3 block = cudaemu_grid.index;
    size_t length = strlen(text);
    emu_symbol(work->kernel.function, text + length, size - length);
    length = strlen(text);
    if (emu_kernel())
        snprintf(text + length, size - length, ", block (%u, %u, %u)", block.x, block.y, block.z);
    length = strlen(text);
    if (cudaemu_current)
        snprintf(text + length, size - length, ", thread (%u, %u, %u)", cudaemu_current->index.x,
                 cudaemu_current->index.y, cudaemu_current->index.z);
    return text;
}

void emu_fail(const char *format, ...)
{
    char actor[512], text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    fflush(stdout);
    fprintf(stderr, "cudaemu: %s: %s\n", emu_actor(actor, sizeof actor), text);
    fflush(stderr);
    abort();
}
