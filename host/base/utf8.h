/*
 * Strict UTF-8: no surrogates, no overlong forms, nothing beyond U+10FFFF. U+0000 is valid here;
 * look for it by memchr.
 */
#pragma once

#include <stddef.h>

/* Bytes at the start of s[0..n) that are whole, valid characters; n when all of it is valid. */
size_t utf8_valid_prefix(const char *s, size_t n);

/* Makes each byte of text[0..size) that belongs to no valid character a question mark. */
void utf8_mend(char *text, size_t size);
