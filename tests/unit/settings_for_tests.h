/* Settings as tests read and set them: one of each, anew for every test. */
#pragma once

#include "check.h"
#include "conf/settings.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct settings settings;
static struct acc_error err;
static char *messages;

static inline int set_up(void **state)
{
    (void)state;
    settings_init(&settings);
    err = (struct acc_error){0};
    messages = NULL;
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    settings_clear(&settings);
    free(messages);
    return 0;
}

/* Reads yaml as a file. Its name in messages is FILE. */
static inline bool read_yaml_bytes(const char *yaml, size_t bytes)
{
    char path[] = "/tmp/settings_test.XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, yaml, bytes), bytes);
    close(fd);
    free(messages);
    messages = NULL;
    bool ok = settings_read_file(&settings, path, &messages, &err);
    unlink(path);
    for (char *at = messages; at != NULL && (at = strstr(at, path)) != NULL;) {
        memcpy(at, "FILE", 4);
        memmove(at + 4, at + strlen(path), strlen(at + strlen(path)) + 1);
    }
    return ok;
}

static inline bool read_yaml(const char *yaml)
{
    return read_yaml_bytes(yaml, strlen(yaml));
}

static inline void assert_set(const char *name, const char *value, const char *expected)
{
    if (!settings_set(&settings, "test", name, value, &err))
        fail_msg("%s", err.text);
    char *now = settings_get(&settings, name);
    if (expected == NULL)
        assert_null(now);
    else
        assert_string_equal(now, expected);
    free(now);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
