#include "base/files.h"
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void every_file_is_as_on_disk(void **state)
{
    (void)state;
    size_t count = 0;

    for (const struct embedded_file *file = embedded_files; file->name != NULL; file++, count++) {
        size_t size = 0;
        char *data = malloc(file->size + 1);
        FILE *disk = fopen(file->name, "rb"); /* ctest runs us at the root */

        assert_non_null(data);
        assert_non_null(disk);
        assert_int_equal(fread(data, 1, file->size + 1, disk), file->size);
        fclose(disk);
        assert_ptr_equal(files_get(file->name, &size), file->data);
        assert_int_equal(size, file->size);
        assert_memory_equal(data, file->data, size);
        assert_int_equal(file->data[size], '\0');
        free(data);
    }
    assert_true(count > 2);
}

static void what_the_program_needs_is_in_it(void **state)
{
    (void)state;

    assert_non_null(files_get("host/include/accrete/hot.h", NULL));
    assert_non_null(files_get("config/postgresql.conf", NULL));
    assert_non_null(files_get("host/schema.sql", NULL));
}

static void an_unknown_name_is_null(void **state)
{
    (void)state;
    size_t size = 7;

    assert_null(files_get("host/schema.sq", &size));
    assert_null(files_get("", &size));
    assert_int_equal(size, 7);
}

static void names_are_sorted(void **state)
{
    (void)state;

    for (const struct embedded_file *file = embedded_files; file[1].name != NULL; file++)
        assert_true(strcmp(file[0].name, file[1].name) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_file_is_as_on_disk),
        cmocka_unit_test(what_the_program_needs_is_in_it),
        cmocka_unit_test(an_unknown_name_is_null),
        cmocka_unit_test(names_are_sorted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
