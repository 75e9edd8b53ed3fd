/*
 * Stands in for libFuzzer's main: runs the target once over every file of the directories named as
 * arguments.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "re");
    struct stat found;
    uint8_t *data;
    size_t size;

    if (!file || fstat(fileno(file), &found) < 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(2);
    }
    if (!S_ISREG(found.st_mode)) {
        (void)fclose(file);
        return 0;
    }
    /* Exactly as large as the file, so that a read behind the end is seen. */
    size = (size_t)found.st_size;
    data = malloc(size ? size : 1);
    if (!data || fread(data, 1, size, file) != size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        exit(2);
    }
    (void)fclose(file);
    printf("%s\n", path); /* before it runs: the last line names the one that crashed */
    (void)fflush(stdout);
    (void)LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 1;
}

int main(int argc, char **argv)
{
    int count = 0;

    for (int i = 1; i < argc; i++) {
        DIR *dir = opendir(argv[i]);
        struct dirent *entry;

        if (!dir) {
            fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
            return 2;
        }
        while ((entry = readdir(dir))) {
            char path[4096];

            snprintf(path, sizeof path, "%s/%s", argv[i], entry->d_name);
            count += replay_file(path);
        }
        closedir(dir);
    }
    if (count == 0) {
        fprintf(stderr, "no input: name the directories of a corpus\n");
        return 2;
    }
    printf("%d inputs\n", count);
    return 0;
}
