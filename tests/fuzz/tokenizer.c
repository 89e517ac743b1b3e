/*
 * Sentences of fold's tokenizer: words of letters with one blank between, small, UTF-8, and a sentence read again is itself. A text
 * is refused exactly when it is not UTF-8 or holds a U+0000.
 */
#include "base/utf8.h"
#include "fuzz.h"

#include "../../examples/fold/native/fold.h"
#include "../../examples/fold/native/text.h"

static void check_sentence(const char *sentence, size_t size)
{
    struct text again;

    REQUIRE(size > 0 && sentence[0] != ' ' && sentence[size - 1] != ' ');
    REQUIRE(utf8_valid_prefix(sentence, size) == size);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)sentence[i];

        REQUIRE(c >= 0x80 || c == ' ' || (c >= 'a' && c <= 'z'));
        REQUIRE(c != ' ' || sentence[i + 1] != ' ');
    }
    text_init(&again, sentence, size);
    again.sentence = NULL;
    again.sentence_room = 0;
    REQUIRE(text_next(&again) == 1);
    REQUIRE(again.sentence_used == size && memcmp(again.sentence, sentence, size) == 0);
    REQUIRE(text_next(&again) == 0);
    text_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text text = {0};
    char *bytes = acc_alloc(size > 0 ? size : 1);
    bool is_good = utf8_valid_prefix((const char *)data, size) == size &&
                   (size == 0 || memchr(data, 0, size) == NULL);
    int32_t result;

    if (size > 0)
        memcpy(bytes, data, size);
    text_init(&text, bytes, size);
    while ((result = text_next(&text)) == 1)
        check_sentence(text.sentence, text.sentence_used);
    REQUIRE(result == (is_good ? 0 : FOLD_EINPUT));
    text_clear(&text);
    free(bytes);
    return 0;
}
