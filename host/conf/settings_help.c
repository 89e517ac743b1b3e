/* What the option table says to people: the default file, --help-config, "did you mean". */
#include "conf/settings.h"

#include "conf/option.h"

#include <stdlib.h>

#define NAME_MAX_BYTES 63

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Letters to change, insert, drop or swap with the next until a is b. */
static size_t distance(const char *a, const char *b)
{
    size_t rows[3][NAME_MAX_BYTES + 1];
    size_t a_bytes = strlen(a);
    size_t b_bytes = strlen(b);

    if (a_bytes > NAME_MAX_BYTES || b_bytes > NAME_MAX_BYTES)
        return SIZE_MAX;
    for (size_t j = 0; j <= b_bytes; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a_bytes; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];
        const size_t *two_above = rows[(i + 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b_bytes; j++) {
            row[j] = least(least(above[j], row[j - 1]) + 1, above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], two_above[j - 2] + 1);
        }
    }
    return rows[a_bytes % 3][b_bytes];
}

const char *option_nearest(const char *name)
{
    const char *dot = strrchr(name, '.');
    const char *leaf = dot == NULL ? name : dot + 1;
    const char *nearest = NULL;
    size_t best = strlen(name) / 4 + 2; /* further away is not what was meant */

    for (size_t i = 0; i < option_count; i++) {
        /* The right name in the wrong section is as good as one wrong letter. */
        size_t d =
            strcmp(option_leaf(&options[i]), leaf) == 0 ? 1 : distance(name, options[i].name);
        if (d < best) {
            best = d;
            nearest = options[i].name;
        }
    }
    if (dot != NULL)
        return nearest;
    for (size_t i = 0; i < option_section_count; i++) {
        size_t d = distance(name, option_sections[i].name);
        if (d > 0 && d < best) {
            best = d;
            nearest = option_sections[i].name;
        }
    }
    return distance(name, "settings") < best ? "settings" : nearest;
}

static bool is_in_section(const struct option *option, const struct option_section *section)
{
    size_t bytes = strlen(section->name);

    return strncmp(option->name, section->name, bytes) == 0 && option->name[bytes] == '.';
}

static void write_default_option(const struct option *option, FILE *out)
{
    struct buf range = {0};

    option_range(option, &range);
    fprintf(out, "  # %s", option->help);
    if (option->type != OPTION_TEXT && option->type != OPTION_BOOL)
        fprintf(out, " (%s)", range.data);
    fprintf(out, "%s.\n", option->is_reloadable ? "" : "; needs a restart");
    fprintf(out, "  %s: %s\n", option_leaf(option),
            *option->initial == '\0' ? "~" : option->initial);
    buf_clear(&range);
}

void settings_write_default(FILE *out)
{
    fputs("# Every option of accrete at its default. This file is generated from the table in "
          "host/conf/settings.c\n"
          "# and never read: copy what you change into the accrete.yaml of your app. "
          "ACCRETE_WORKER__COUNT=4 in the\n"
          "# environment and --set worker.count=4 go before it. `~` is unset. A reload applies a "
          "change, unless the\n"
          "# option needs a restart.\n",
          out);
    for (size_t s = 0; s < option_section_count; s++) {
        fprintf(out, "\n# %s.\n%s:\n", option_sections[s].help, option_sections[s].name);
        for (size_t i = 0; i < option_count; i++)
            if (is_in_section(&options[i], &option_sections[s]))
                write_default_option(&options[i], out);
    }
    fputs("\n# The app's own settings, one value each: names and meaning are the app's.\nsettings: "
          "{}\n",
          out);
}

void settings_write_help(FILE *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option *option = &options[i];
        struct buf range = {0};

        option_range(option, &range);
        fprintf(out, "%s%s: %s\n", i == 0 ? "" : "\n", option->name, option->help);
        fprintf(out, "    %s; default %s; %s\n", range.data,
                *option->initial == '\0' ? "unset" : option->initial,
                option->is_reloadable ? "a reload applies it" : "needs a restart");
        buf_clear(&range);
    }
    fputs("\nsettings.NAME: The app's own settings, kept as text\n", out);
}
