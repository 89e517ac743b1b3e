#include "conf/option.h"

#include <stdlib.h>

struct unit {
    const char *name;
    int64_t factor;
};

/* From large to small; a bare number has no unit, so only a zero may go without. */
static const struct unit time_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}, {NULL, 0},
};
static const struct unit byte_units[] = {
    {"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20},
    {"KiB", 1 << 10},          {"B", 1},         {NULL, 0},
};
static const struct unit no_units[] = {{"", 1}, {NULL, 0}};

char **option_text(const struct option *option, struct settings *settings)
{
    return (char **)((char *)settings + option->offset);
}

int64_t *option_number(const struct option *option, struct settings *settings)
{
    return (int64_t *)((char *)settings + option->offset);
}

bool *option_bool(const struct option *option, struct settings *settings)
{
    return (bool *)((char *)settings + option->offset);
}

const char *option_leaf(const struct option *option)
{
    return strchr(option->name, '.') + 1;
}

static const struct unit *units_of(const struct option *option)
{
    if (option->type == OPTION_TIME)
        return time_units;
    return option->type == OPTION_BYTES ? byte_units : no_units;
}

/*
 * Reads `12MiB` into 12 * 2^20. A sign, a fraction, an unknown unit or too large a number does not
 * fit.
 */
static bool parse_number(const struct unit *units, const char *text, int64_t *value)
{
    int64_t number = 0;
    const char *at = text;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, *at - '0', &number))
            return false;
    if (at == text)
        return false;
    if (number == 0 && *at == '\0') {
        *value = 0;
        return true;
    }
    for (const struct unit *unit = units; unit->name != NULL; unit++)
        if (strcmp(at, unit->name) == 0)
            return !__builtin_mul_overflow(number, unit->factor, value);
    return false;
}

static bool is_in_range(const struct option *option, int64_t value)
{
    if (option->has_zero && value == 0)
        return true;
    if (option->type == OPTION_POWER && (value & (value - 1)) != 0)
        return false;
    return value >= option->min && value <= option->max;
}

static bool parse_bool(const char *text, bool *value)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on"};

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool is_word(const char *words, const char *text)
{
    size_t bytes = strlen(text);

    while (*words != '\0') {
        size_t word_bytes = strcspn(words, " ");
        if (bytes == word_bytes && memcmp(words, text, bytes) == 0)
            return true;
        words += word_bytes + (words[word_bytes] == ' ');
    }
    return false;
}

static void replace_text(char **place, const char *text)
{
    free(*place);
    *place = *text == '\0' ? NULL : acc_strdup(text);
}

bool option_parse(const struct option *option, const char *text, struct settings *settings)
{
    int64_t number;

    switch (option->type) {
    case OPTION_WORD:
        if (!is_word(option->words, text))
            return false;
        replace_text(option_text(option, settings), text);
        return true;
    case OPTION_TEXT:
        replace_text(option_text(option, settings), text);
        return true;
    case OPTION_BOOL:
        return parse_bool(text, option_bool(option, settings));
    default:
        if (!parse_number(units_of(option), text, &number) || !is_in_range(option, number))
            return false;
        *option_number(option, settings) = number;
        return true;
    }
}

/* In the largest unit that leaves no fraction. */
static void add_number(const struct option *option, int64_t value, struct buf *out)
{
    const struct unit *unit = units_of(option);

    if (value == 0) {
        buf_text(out, "0");
        return;
    }
    while (value % unit->factor != 0)
        unit++;
    buf_printf(out, "%lld%s", (long long)(value / unit->factor), unit->name);
}

void option_format(const struct option *option, const struct settings *settings, struct buf *out)
{
    struct settings *from = (struct settings *)settings; /* only read */

    switch (option->type) {
    case OPTION_TEXT:
    case OPTION_WORD:
        if (*option_text(option, from) != NULL)
            buf_text(out, *option_text(option, from));
        break;
    case OPTION_BOOL:
        buf_text(out, *option_bool(option, from) ? "yes" : "no");
        break;
    default:
        add_number(option, *option_number(option, from), out);
    }
}

/* Adds `error, warn, info or debug`. */
static void add_words(const char *words, struct buf *out)
{
    for (const char *at = words; *at != '\0';) {
        size_t bytes = strcspn(at, " ");
        bool is_last = at[bytes] == '\0';

        if (at != words)
            buf_text(out, is_last ? " or " : ", ");
        buf_add(out, at, bytes);
        at += bytes + !is_last;
    }
}

void option_range(const struct option *option, struct buf *out)
{
    switch (option->type) {
    case OPTION_TEXT:
        buf_text(out, "text");
        break;
    case OPTION_WORD:
        add_words(option->words, out);
        break;
    case OPTION_BOOL:
        buf_text(out, "yes or no");
        break;
    default:
        buf_text(out, option->type == OPTION_POWER ? "a power of two in " : "");
        buf_text(out, option->has_zero && option->min > 0 ? "0 or " : "");
        add_number(option, option->min, out);
        if (option->max == INT64_MAX) {
            buf_text(out, " or more");
        } else {
            buf_text(out, "..");
            add_number(option, option->max, out);
        }
    }
}

void option_complain(const struct option *option, const char *text, struct buf *out)
{
    int64_t number;

    buf_text(out, "wanted ");
    option_range(option, out);
    if (option->type == OPTION_TIME && !parse_number(time_units, text, &number))
        buf_text(out, " with a unit (ms s m h d)");
    if (option->type == OPTION_BYTES && !parse_number(byte_units, text, &number))
        buf_text(out, " with a unit (B KiB MiB GiB TiB)");
    buf_printf(out, ", got \"%s\"", text);
}
