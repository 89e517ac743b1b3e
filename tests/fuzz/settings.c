/* Settings from YAML: what is taken reads back the same, what is refused changes nothing and is explained. */
#include "conf/settings.h"

#include "conf/option.h"
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

static char *all_of(const struct settings *settings)
{
    struct buf out = {0};

    for (size_t i = 0; i < option_count; i++) {
        buf_printf(&out, "%s=", options[i].name);
        option_format(&options[i], settings, &out);
        buf_byte(&out, '\n');
    }
    for (size_t i = 0; i < settings->app_count; i++)
        buf_printf(&out, "app %zu\n", i);
    return out.data;
}

/* Each value, as text, given to fresh settings, is that value. */
static void set_again(const struct settings *settings)
{
    struct settings fresh;
    struct acc_error err;

    settings_init(&fresh);
    for (size_t i = 0; i < option_count; i++) {
        struct buf value = {0};
        struct buf again = {0};

        option_format(&options[i], settings, &value);
        if (value.data != NULL && strlen(value.data) == value.size) {
            REQUIRE(settings_set(&fresh, "fuzz", options[i].name, value.data, &err));
            option_format(&options[i], &fresh, &again);
            REQUIRE(again.size == value.size && memcmp(again.data, value.data, value.size) == 0);
        }
        buf_clear(&value);
        buf_clear(&again);
    }
    settings_clear(&fresh);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct settings settings;
    struct acc_error err = {0};
    char *messages = NULL;
    char path[32];
    int fd = memfd_create("settings", 0);

    REQUIRE(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    settings_init(&settings);
    char *before = all_of(&settings);
    if (settings_read_file(&settings, path, &messages, &err)) {
        set_again(&settings);
    } else {
        char *after = all_of(&settings);

        REQUIRE(err.text[0] != '\0');
        REQUIRE(strcmp(before, after) == 0);
        free(after);
    }
    free(before);
    free(messages);
    settings_clear(&settings);
    close(fd);
    return 0;
}
