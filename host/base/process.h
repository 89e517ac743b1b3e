/* What the kernel says of a process. */
#pragma once

#include <stdint.h>
#include <sys/types.h>

/* Its resident memory in bytes; 0: there is none, or it is not told. */
int64_t process_resident(pid_t pid);
