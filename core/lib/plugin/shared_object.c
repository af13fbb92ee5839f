/* SPDX-License-Identifier: Apache-2.0 */
#include "plugin/shared_object.h"

#include "base/file.h"
#include <elf.h>
#include <link.h>
#include <string.h>

/* The word size and byte order of this program: its own ELF header has them. */
#define OWN_CLASS (sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32)
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define OWN_ORDER ELFDATA2LSB
#else
#define OWN_ORDER ELFDATA2MSB
#endif
#if defined(__x86_64__)
#define OWN_MACHINE EM_X86_64
#elif defined(__aarch64__)
#define OWN_MACHINE EM_AARCH64
#elif defined(__riscv)
#define OWN_MACHINE EM_RISCV
#elif defined(__powerpc64__)
#define OWN_MACHINE EM_PPC64
#elif defined(__i386__)
#define OWN_MACHINE EM_386
#else
#define OWN_MACHINE EM_NONE /* unknown here: the dynamic linker decides */
#endif

static more_status check_header(const ElfW(Ehdr) * header, more_error *error)
{
    if (header->e_ident[EI_CLASS] != OWN_CLASS || header->e_ident[EI_DATA] != OWN_ORDER ||
        (OWN_MACHINE != EM_NONE && header->e_machine != OWN_MACHINE))
        return more_fail(error, MORE_ERROR_UNSUPPORTED,
                         "is for another machine (ELF class %d, machine %d; this one is class %d, machine %d)",
                         header->e_ident[EI_CLASS], header->e_machine, OWN_CLASS, OWN_MACHINE);
    if (header->e_type != ET_DYN)
        return more_fail(error, MORE_ERROR_CORRUPT, "is no shared object (ELF type %d)", header->e_type);
    return MORE_OK;
}

/* Every loaded segment must lie inside the file: mapping one that does not works, and reading it is a SIGBUS. */
static more_status check_segments(const core_map *map, const ElfW(Ehdr) * header, more_error *error)
{
    size_t size = map->size, table = (size_t)header->e_phnum * sizeof(ElfW(Phdr));
    if (header->e_phentsize != sizeof(ElfW(Phdr)) || header->e_phoff > size || table > size - header->e_phoff)
        return more_fail(error, MORE_ERROR_CORRUPT, "is cut short: its program headers end behind its %zu bytes", size);
    for (size_t i = 0; i < header->e_phnum; i++) {
        ElfW(Phdr) segment;
        memcpy(&segment, map->data + header->e_phoff + i * sizeof segment, sizeof segment);
        if (segment.p_type == PT_LOAD && (segment.p_offset > size || segment.p_filesz > size - segment.p_offset))
            return more_fail(error, MORE_ERROR_CORRUPT, "is cut short: segment %zu ends behind its %zu bytes", i, size);
    }
    return MORE_OK;
}

more_status core_shared_object_check(const char *path, more_error *error)
{
    core_map map = {0};
    more_error reason = {{0}};
    more_status status = core_map_open(path, &map, &reason);
    ElfW(Ehdr) header;
    if (status != MORE_OK) {
        /* the caller puts the path first, as these messages do */
        size_t length = strlen(path);
        bool named = !strncmp(reason.message, path, length) && reason.message[length] == ':';
        return more_fail(error, status, "%s", named ? reason.message + length + 2 : reason.message);
    }
    if (map.size < SELFMAG || memcmp(map.data, ELFMAG, SELFMAG)) {
        status = more_fail(error, MORE_ERROR_CORRUPT, "is no ELF shared object (%zu bytes)", map.size);
    } else if (map.size < sizeof header) {
        status = more_fail(error, MORE_ERROR_CORRUPT, "is cut short: %zu bytes are less than an ELF header", map.size);
    } else {
        memcpy(&header, map.data, sizeof header);
        status = check_header(&header, error);
        if (status == MORE_OK)
            status = check_segments(&map, &header, error);
    }
    core_map_close(&map);
    return status;
}
