/* The scripted machine: "key = value" lines, the last one that fits wins. Shared by nvml.c and cuda.c.
 *
 *   driver = 535.247.01                 a figure of the system
 *   gpu.*.temp = 40                     a figure of every GPU
 *   gpu.2.temp = 91                     a figure of one GPU
 *   fail.SYMBOL = 999                   this call returns that code; so gpu.2.fail.SYMBOL for one GPU
 *   hang.SYMBOL = 1                     it never returns
 *   crash.SYMBOL = 1                    it is a segmentation fault
 *   slow.SYMBOL = 200                   it takes that many milliseconds
 *   missing.SYMBOL = 1                  the library has no such symbol (done when it is built)
 *   banner = TEXT                       printed on stdout when the library starts
 *   nodes = /dev                        open the device nodes there, as the driver's libraries do
 *
 * Where the variable is not set, the file MACHINE_PLACE counts: a container gets no variables from its hook.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))
#define MAX_LINES 4096
#define MACHINE_PLACE "/etc/gpudoctor-standin.txt"

static struct { const char *key, *value; } machine[MAX_LINES];
static int machine_lines = -1;

static char *machine_text(const char *variable, const char *otherwise)
{
    const char *path = getenv(variable);
    if (!path && access(MACHINE_PLACE, R_OK) == 0) path = MACHINE_PLACE;
    if (!path) return strdup(otherwise);
    FILE *file = fopen(path, "r");
    if (!file) return strdup("");
    char *text = calloc(1, 1 << 20);
    size_t length = fread(text, 1, (1 << 20) - 1, file);
    text[length] = 0;
    fclose(file);
    return text;
}

static char *trimmed(char *text)
{
    while (*text == ' ') text++;
    for (char *end = text + strlen(text); end > text && end[-1] == ' '; ) *--end = 0;
    return text;
}

static void machine_load(const char *variable, const char *otherwise)
{
    if (machine_lines >= 0) return;
    machine_lines = 0;
    char *rest = NULL;
    for (char *line = strtok_r(machine_text(variable, otherwise), "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *equals = strchr(line, '=');
        if (!equals || *line == '#' || machine_lines == MAX_LINES) continue;
        *equals = 0;
        machine[machine_lines].key = trimmed(line);
        machine[machine_lines++].value = trimmed(equals + 1);
    }
}

/* The value of a key such as "gpu.2.temp", where "gpu.*.temp" fits too; of the system for gpu < 0. */
static const char *look(int gpu, const char *form, ...)
{
    char field[160], one[200], any[200];
    va_list arguments;
    va_start(arguments, form);
    vsnprintf(field, sizeof field, form, arguments);
    va_end(arguments);
    snprintf(one, sizeof one, gpu < 0 ? "%.0d%s" : "gpu.%d.%s", gpu < 0 ? 0 : gpu, field);
    snprintf(any, sizeof any, gpu < 0 ? "%s" : "gpu.*.%s", field);
    for (int i = machine_lines - 1; i >= 0; i--)
        if (!strcmp(machine[i].key, one) || !strcmp(machine[i].key, any)) return machine[i].value;
    return NULL;
}

static long long number(const char *text, long long otherwise)
{
    return text ? strtoll(text, NULL, 0) : otherwise;
}

/* What the script has in store for this call: 0 to go on, a code to return, or no return at all. */
static int trouble(int gpu, const char *symbol)
{
    for (int level = -1; level <= gpu; level = level < gpu ? gpu : gpu + 1) {
        if (look(level, "slow.%s", symbol)) usleep(1000 * number(look(level, "slow.%s", symbol), 0));
        if (look(level, "crash.%s", symbol)) *(volatile int *)8 = 0;
        while (look(level, "hang.%s", symbol)) sleep(1000);
        if (look(level, "fail.%s", symbol)) return number(look(level, "fail.%s", symbol), 999);
        if (level >= 0 && look(level, "fail.*")) return number(look(level, "fail.*"), 999);
    }
    return 0;
}

/* The errno of opening a GPU's node, nvidiactl's for gpu < 0. ENXIO is a kernel without the driver, whose device
 * cgroup let us through: all that can be asked of one. */
static int node_errno(int gpu)
{
    const char *folder = look(-1, "nodes");
    if (!folder) return 0;
    char path[256];
    snprintf(path, sizeof path, gpu < 0 ? "%s/nvidiactl" : "%s/nvidia%d", folder, gpu);
    int node = open(path, O_RDWR | O_CLOEXEC);
    if (node >= 0) close(node);
    return node >= 0 || errno == ENXIO || errno == ENODEV ? 0 : errno;
}
