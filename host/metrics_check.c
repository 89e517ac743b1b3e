/* Which names, labels, help and values metrics may have. */
#include "base/utf8.h"
#include "metrics_internal.h"

#include <string.h>

static bool is_name(const char *name)
{
    size_t size = strlen(name);

    if (size == 0 || size > METRICS_NAME_MAX || (*name >= '0' && *name <= '9'))
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == size;
}

static const char *reserved_end(const char *name)
{
    static const char *const ends[] = {"_total", "_bucket", "_created"};
    size_t size = strlen(name);

    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        size_t end = strlen(ends[i]);
        if (size > end && strcmp(name + size - end, ends[i]) == 0)
            return ends[i];
    }
    return NULL;
}

size_t metrics_label_count(const struct metric_family *family)
{
    size_t count = 0;

    while (count < METRICS_LABELS_MAX && family->labels[count] != NULL)
        count++;
    return count;
}

static bool check_text(const char *what, const char *text, size_t most, struct acc_error *err)
{
    size_t size = strlen(text);

    if (size > most)
        return acc_fail(err, ACC_EINPUT, "%s: wanted at most %zu bytes, got %zu", what, most, size);
    if (utf8_valid_prefix(text, size) != size)
        return acc_fail(err, ACC_EINPUT, "%s: byte %zu is not UTF-8", what,
                        utf8_valid_prefix(text, size) + 1);
    return true;
}

static bool check_label(const struct metric_family *family, size_t number, struct acc_error *err)
{
    const char *label = family->labels[number];

    if (!is_name(label) || strncmp(label, "__", 2) == 0 || strcmp(label, "le") == 0)
        return acc_fail(err, ACC_EINPUT,
                        "metric %s: label \"%.80s\": wanted letters, digits and _, at most %d, not "
                        "le, not beginning with __",
                        family->name, label, METRICS_NAME_MAX);
    for (size_t i = 0; i < number; i++)
        if (strcmp(family->labels[i], label) == 0)
            return acc_fail(err, ACC_EINPUT, "metric %s: label %s is there twice", family->name,
                            label);
    return true;
}

bool metrics_check(const struct metric_family *family, struct acc_error *err)
{
    if (!is_name(family->name))
        return acc_fail(err, ACC_EINPUT,
                        "metric \"%.80s\": wanted a name of letters, digits and _, at most %d",
                        family->name, METRICS_NAME_MAX);
    if (reserved_end(family->name) != NULL)
        return acc_fail(err, ACC_EINPUT, "metric %s: wanted a name without \"%s\" at its end",
                        family->name, reserved_end(family->name));
    if (family->type > METRIC_HISTOGRAM)
        return acc_fail(err, ACC_EINPUT, "metric %s: there is no type %d", family->name,
                        (int)family->type);
    if (!check_text("help", family->help, METRICS_HELP_MAX, err))
        return acc_fail_prefix(err, "metric %s", family->name);
    for (size_t i = 0; i < metrics_label_count(family); i++)
        if (!check_label(family, i, err))
            return false;
    return true;
}

bool metrics_check_values(const struct metric_family *family, const char *const *values,
                          struct acc_error *err)
{
    for (size_t i = 0; i < metrics_label_count(family); i++) {
        if (values == NULL || values[i] == NULL)
            return acc_fail(err, ACC_EINPUT, "metric %s: label %s has no value", family->name,
                            family->labels[i]);
        if (!check_text(family->labels[i], values[i], METRICS_VALUE_MAX, err))
            return acc_fail_prefix(err, "metric %s: label", family->name);
    }
    return true;
}
