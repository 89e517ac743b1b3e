#include "base/log.h"

#include "base/buf.h"
#include "base/clock.h"
#include "base/utf8.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define QUOTES_KEPT 4
#define TROUBLE_EACH_US 60000000

static const char *const level_names[] = {"error", "warn", "info", "debug"};
static enum log_level log_level = LOG_INFO;
static bool log_json;

void log_setup(enum log_level level, bool json)
{
    log_level = level;
    log_json = json;
}

bool log_level_of(const char *name, enum log_level *level)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool log_enabled(enum log_level level)
{
    return level <= log_level;
}

static void add_control(struct buf *out, uint8_t byte)
{
    switch (byte) {
    case '\n':
        buf_text(out, "\\n");
        break;
    case '\r':
        buf_text(out, "\\r");
        break;
    case '\t':
        buf_text(out, "\\t");
        break;
    default:
        buf_printf(out, "\\u%04x", byte);
    }
}

static bool is_control(char byte)
{
    return (uint8_t)byte < 0x20 || byte == 0x7f;
}

/* Bytes of the JSON escape at text, which starts with a backslash; 0 when it is none. */
static size_t escape_bytes(const char *text, size_t bytes)
{
    if (bytes < 2 || strchr("\"\\/bfnrtu", text[1]) == NULL)
        return 0;
    if (text[1] != 'u')
        return 2;
    for (size_t i = 2; i < 6; i++)
        if (i >= bytes || !isxdigit((uint8_t)text[i]))
            return 0;
    return 6;
}

/*
 * Adds text as the inside of a JSON string. is_escaped: a backslash that starts a JSON escape stays
 * as it is.
 */
static void add_string(struct buf *out, const char *text, size_t bytes, bool is_escaped)
{
    size_t valid = utf8_valid_prefix(text, bytes);

    for (size_t i = 0; i < bytes; i++) {
        char byte = text[i];
        size_t escape = is_escaped && byte == '\\' ? escape_bytes(text + i, bytes - i) : 0;

        if (i == valid) { /* not UTF-8: mark this byte, go on after it */
            buf_text(out, "\\ufffd");
            valid = i + 1 + utf8_valid_prefix(text + i + 1, bytes - i - 1);
        } else if (escape > 0) {
            buf_add(out, text + i, escape);
            i += escape - 1;
        } else if (byte == '"' || byte == '\\') {
            buf_byte(out, '\\');
            buf_byte(out, (uint8_t)byte);
        } else if (is_control(byte)) {
            add_control(out, (uint8_t)byte);
        } else {
            buf_byte(out, (uint8_t)byte);
        }
    }
}

/* As JSON sees it. Long digits stay text: they are ids, or do not fit a double. */
static bool is_number(const char *text, size_t bytes)
{
    size_t i = bytes > 0 && text[0] == '-' ? 1 : 0;
    size_t first = i;

    if (bytes - first > 15)
        return false;
    while (i < bytes && isdigit((uint8_t)text[i]))
        i++;
    if (i == first || (text[first] == '0' && i > first + 1))
        return false;
    if (i == bytes)
        return true;
    if (text[i++] != '.' || i == bytes)
        return false;
    while (i < bytes && isdigit((uint8_t)text[i]))
        i++;
    return i == bytes;
}

/* End of the value at text: after the closing quote, or at the next blank. */
static const char *value_end(const char *text)
{
    if (*text != '"')
        return text + strcspn(text, " ");
    for (text++; *text != '\0' && *text != '"'; text++)
        if (*text == '\\' && text[1] != '\0')
            text++;
    return *text == '"' ? text + 1 : text;
}

static void add_member(struct buf *out, const char *key, size_t key_bytes, const char *value,
                       size_t value_bytes)
{
    static const char *const ours[] = {"time", "level", "pid", "at"};

    buf_text(out, ",\"");
    add_string(out, key, key_bytes, false);
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strlen(ours[i]) == key_bytes && memcmp(ours[i], key, key_bytes) == 0)
            buf_byte(out, '_'); /* a member of that name is there already */
    buf_text(out, "\":");
    if (is_number(value, value_bytes)) {
        buf_add(out, value, value_bytes);
        return;
    }
    bool is_quoted = value_bytes >= 2 && value[0] == '"' && value[value_bytes - 1] == '"';
    buf_byte(out, '"');
    add_string(out, value + is_quoted, value_bytes - 2 * (size_t)is_quoted, is_quoted);
    buf_byte(out, '"');
}

/* Turns `a=1 b="x y" words` into `,"a":1,"b":"x y","text":"words"`. */
static void add_members(struct buf *out, const char *pairs)
{
    struct buf words = {0};

    while (*pairs != '\0') {
        const char *equals = pairs + strcspn(pairs, "= ");
        const char *end = value_end(*equals == '=' ? equals + 1 : pairs);

        if (*equals == '=' && equals > pairs) {
            add_member(out, pairs, (size_t)(equals - pairs), equals + 1,
                       (size_t)(end - equals - 1));
        } else if (end > pairs) {
            if (words.size > 0)
                buf_byte(&words, ' ');
            buf_add(&words, pairs, (size_t)(end - pairs));
        }
        pairs = end + (*end == ' ');
    }
    if (words.size > 0) {
        buf_text(out, ",\"text\":\"");
        add_string(out, words.data, words.size, false);
        buf_byte(out, '"');
    }
    buf_clear(&words);
}

/* One line stays one line, whatever the values hold. */
static void add_line(struct buf *out, const char *pairs)
{
    for (; *pairs != '\0'; pairs++) {
        if (is_control(*pairs))
            add_control(out, (uint8_t)*pairs);
        else
            buf_byte(out, (uint8_t)*pairs);
    }
}

static void add_time(struct buf *out)
{
    int64_t now_us = clock_wall_us();
    time_t seconds = now_us / 1000000;
    struct tm utc;
    char text[32];

    gmtime_r(&seconds, &utc);
    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
    buf_printf(out, "%s.%03dZ", text, (int)(now_us / 1000 % 1000));
}

static void write_all(const char *data, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(STDERR_FILENO, data, bytes);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody is there to be told */
        data += n;
        bytes -= (size_t)n;
    }
}

void log_line(enum log_level level, const char *at, const char *fmt, ...)
{
    int saved = errno;
    struct buf line = {0};
    char *pairs = NULL;
    va_list args;

    if (!log_enabled(level))
        return;
    va_start(args, fmt);
    if (vasprintf(&pairs, fmt, args) < 0)
        pairs = NULL;
    va_end(args);

    buf_text(&line, log_json ? "{\"time\":\"" : "");
    add_time(&line);
    buf_printf(&line,
               log_json ? "\",\"level\":\"%s\",\"pid\":%d,\"at\":\"%s\""
                        : " level=%s pid=%d at=%s ",
               level_names[level], (int)getpid(), at);
    if (log_json)
        add_members(&line, pairs == NULL ? "" : pairs);
    else
        add_line(&line, pairs == NULL ? "" : pairs);
    buf_text(&line, log_json ? "}\n" : "\n");
    write_all(line.data, line.size); /* one write, so that lines of several processes do not mix */

    free(pairs);
    buf_clear(&line);
    errno = saved;
}

const char *log_quote(const char *text)
{
    static struct buf kept[QUOTES_KEPT];
    static unsigned next;
    struct buf *out = &kept[next++ % QUOTES_KEPT];

    buf_reset(out);
    buf_byte(out, '"');
    add_string(out, text, strlen(text), false);
    buf_byte(out, '"');
    return out->data;
}

void log_trouble(struct log_trouble *trouble, int64_t now_us, const char *at, const char *event,
                 const char *error)
{
    if (trouble->is_on && now_us - trouble->said_us < TROUBLE_EACH_US) {
        trouble->untold++;
        return;
    }
    if (trouble->untold > 0)
        log_warn(at, "event=%s error=%s times=%llu", log_quote(event), log_quote(error),
                 (unsigned long long)trouble->untold + 1);
    else
        log_warn(at, "event=%s error=%s", log_quote(event), log_quote(error));
    *trouble = (struct log_trouble){.is_on = true, .said_us = now_us};
}

void log_trouble_over(struct log_trouble *trouble, const char *at, const char *event)
{
    if (trouble->is_on)
        log_info(at, "event=%s", log_quote(event));
    *trouble = (struct log_trouble){0};
}
