/* Loaded before the C library (LD_PRELOAD), lets calls on regular files read or write half of what was asked for, as the
 * system may do at any time. SHORT_CALLS: "<call>:<number>", the call of this number, counted from 1, or 0 for all of them.
 * SHORT_COUNTS: a file that gets the number of each call at the end. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { READ, PREAD64, WRITE, PWRITE64, WRITEV, COPY_FILE_RANGE, SENDFILE64, CALLS };
static const char *const names[CALLS] = {"read", "pread64", "write", "pwrite64", "writev", "copy_file_range", "sendfile64"};
static atomic_long made[CALLS];

/* How many of `asked` bytes this call may move. Calls that must be whole, as of a terminal or a pipe, are left alone. */
static size_t allowed(int call, int file, size_t asked)
{
    struct stat meta;
    if (asked < 2 || fstat(file, &meta) != 0 || !S_ISREG(meta.st_mode))
        return asked;
    long number = atomic_fetch_add(&made[call], 1) + 1;
    const char *wanted = getenv("SHORT_CALLS");
    size_t length = strlen(names[call]);
    if (!wanted || strncmp(wanted, names[call], length) != 0 || wanted[length] != ':')
        return asked;
    long which = atol(wanted + length + 1);
    return which == 0 || which == number ? asked / 2 : asked;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t read(int file, void *to, size_t n) { return REAL(read)(file, to, allowed(READ, file, n)); }

ssize_t pread64(int file, void *to, size_t n, off64_t at) { return REAL(pread64)(file, to, allowed(PREAD64, file, n), at); }

ssize_t write(int file, const void *from, size_t n) { return REAL(write)(file, from, allowed(WRITE, file, n)); }

ssize_t pwrite64(int file, const void *from, size_t n, off64_t at)
{
    return REAL(pwrite64)(file, from, allowed(PWRITE64, file, n), at);
}

ssize_t writev(int file, const struct iovec *parts, int n)
{
    size_t asked = n > 0 ? parts[0].iov_len : 0;
    size_t length = allowed(WRITEV, file, asked);
    return length < asked ? REAL(write)(file, parts[0].iov_base, length) : REAL(writev)(file, parts, n);
}

ssize_t copy_file_range(int from, off64_t *at, int to, off64_t *there, size_t n, unsigned flags)
{
    struct stat meta;
    if (fstat(from, &meta) == 0 && meta.st_size > 1 && (size_t)meta.st_size < n)
        n = meta.st_size; /* Half of what is there, as it may be asked for more. */
    return REAL(copy_file_range)(from, at, to, there, allowed(COPY_FILE_RANGE, from, n), flags);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t n)
{
    return REAL(sendfile64)(to, from, at, allowed(SENDFILE64, from, n));
}

__attribute__((destructor)) static void tell(void)
{
    const char *path = getenv("SHORT_COUNTS");
    FILE *file = path ? fopen(path, "w") : NULL;
    for (int call = 0; file && call < CALLS; call++)
        fprintf(file, "%s %ld\n", names[call], made[call]);
    if (file)
        fclose(file);
}
