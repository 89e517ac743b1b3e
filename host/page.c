#include "page.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE_MAGIC UINT64_C(0x6163637265746503) /* "accrete" and the layout's version */

const char *page_role_name(int32_t role)
{
    static const char *const names[] = {"none", "front", "query", "routes", "figures"};

    return role >= 0 && role < (int32_t)(sizeof(names) / sizeof(*names)) ? names[role] : "none";
}

static void *map(const char *run_dir, int flags, int protection, struct acc_error *err)
{
    char path[256];
    void *page = NULL;

    snprintf(path, sizeof(path), "%s/page", run_dir);
    int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd < 0) {
        acc_fail_errno(err, "cannot open %s", path);
        return NULL;
    }
    struct stat st;
    if ((flags & O_CREAT) != 0 && ftruncate(fd, sizeof(struct page)) != 0)
        acc_fail_errno(err, "cannot size %s", path);
    else if (fstat(fd, &st) != 0 || st.st_size < (off_t)sizeof(struct page))
        acc_fail(err, ACC_ESYS, "%s is not of this version of accrete", path);
    else if ((page = mmap(NULL, sizeof(struct page), protection, MAP_SHARED, fd, 0)) ==
             MAP_FAILED) {
        acc_fail_errno(err, "cannot map %s", path);
        page = NULL;
    }
    close(fd);
    return page;
}

struct page *page_create(const char *run_dir, struct acc_error *err)
{
    char path[256];

    /* A new file each time: a reader of the old one keeps what it had. */
    snprintf(path, sizeof(path), "%s/page", run_dir);
    unlink(path);
    struct page *page = map(run_dir, O_RDWR | O_CREAT | O_EXCL, PROT_READ | PROT_WRITE, err);
    if (page == NULL)
        return NULL;
    page->magic = PAGE_MAGIC;
    page->master_pid = (int32_t)getpid();
    for (size_t i = 0; i < sizeof(page->bucket_slot) / sizeof(page->bucket_slot[0]); i++)
        page->bucket_slot[i] = -1;
    for (size_t i = 0; i < PAGE_SLOTS; i++)
        page->slots[i].run.current = -1;
    return page;
}

const struct page *page_open(const char *run_dir, struct acc_error *err)
{
    struct page *page = map(run_dir, O_RDONLY, PROT_READ, err);

    if (page != NULL && page->magic != PAGE_MAGIC) {
        acc_fail(err, ACC_ESYS, "%s/page is not of this version of accrete", run_dir);
        page_close(page);
        return NULL;
    }
    return page;
}

void page_close(const struct page *page)
{
    if (page != NULL)
        munmap((void *)page, sizeof(*page));
}

bool page_is_served(const struct page *page)
{
    for (int i = 0; i < PAGE_SERVICES; i++) {
        const struct page_service *service = &page->services[i];
        bool is_ready = __atomic_load_n(&service->is_ready, __ATOMIC_ACQUIRE) != 0;

        if (service->pid == 0 || service->role == SERVICE_NONE || service->role == SERVICE_FIGURES)
            continue;
        if (service->retire != 0 ? is_ready : !is_ready || service->generation != page->generation)
            return false;
    }
    return true;
}

void page_worker_name(int slot, char *out, size_t size)
{
    char host[65] = "";

    gethostname(host, sizeof(host) - 1);
    snprintf(out, size, "%s-%d", host, slot);
}
