/* Runs inside a container, in any image, and says what arrives there of the GPUs. Built by build.sh.
 *
 *   proof try|look [PROGRAM ARGUMENT...]
 *
 * One file, two stages. Started by the kernel it is on its own: it needs neither shell nor C library, opens the device
 * files, and looks for glibc's loader. With that it starts itself again, now linked with the image's own glibc: only
 * there can NVIDIA's libraries be loaded. Where that is not possible, PROGRAM is tried instead.
 *
 * Every fact is one line, written at once, so that a crash in the driver's libraries keeps what came before.
 * Nothing here may need a relocation: in the first stage nobody makes it. So there are no tables of pointers.
 */

typedef unsigned long word;
typedef unsigned char byte;

enum { MAX_GPUS = 256, PATTERN_BYTES = 1 << 20, RTLD_NOW = 2 };
enum { AT_FDCWD = -100, O_RDWR = 2, O_CLOEXEC = 02000000, SIGCHLD = 17, ENOENT = 2, ENOEXEC_EXIT = 127 };

extern void *dlopen(const char *name, int flags);
extern void *dlsym(void *library, const char *name);
extern char *dlerror(void);
extern int __libc_start_main(int (*main)(int, char **, char **), int count, char **arguments, void (*init)(void),
                             void (*fini)(void), void (*loader_fini)(void), void *stack);

#if defined(__x86_64__)
#define TRIPLE "x86_64-linux-gnu"
#define LOADER "ld-linux-x86-64.so.2"
#define LOADERS "/lib64/" LOADER "\0/usr/lib64/" LOADER "\0/lib/" TRIPLE "/" LOADER "\0"
#define MUSL "/lib/ld-musl-x86_64.so.1"
enum { WRITE = 1, CLOSE = 3, WAIT4 = 61, CLONE = 56, EXECVE = 59, EXIT_GROUP = 231, OPENAT = 257, FACCESSAT = 269 };
__asm__(".text\n.globl _start\n.hidden _start\n_start:\n xor %ebp, %ebp\n mov %rsp, %rdi\n mov %rdx, %rsi\n"
        " and $-16, %rsp\n call begin\n hlt\n");
static long ask(long number, long a, long b, long c, long d, long e)
{
    register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;
    long answer;
    __asm__ volatile("syscall" : "=a"(answer) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8)
                     : "rcx", "r11", "memory");
    return answer;
}
#elif defined(__aarch64__)
#define TRIPLE "aarch64-linux-gnu"
#define LOADER "ld-linux-aarch64.so.1"
#define LOADERS "/lib/" LOADER "\0/usr/lib/" LOADER "\0/lib64/" LOADER "\0/lib/" TRIPLE "/" LOADER "\0"
#define MUSL "/lib/ld-musl-aarch64.so.1"
enum { WRITE = 64, CLOSE = 57, WAIT4 = 260, CLONE = 220, EXECVE = 221, EXIT_GROUP = 94, OPENAT = 56, FACCESSAT = 48 };
__asm__(".text\n.globl _start\n.hidden _start\n_start:\n mov x29, #0\n mov x30, #0\n mov x1, x0\n mov x0, sp\n"
        " bl begin\n brk #0\n");
static long ask(long number, long a, long b, long c, long d, long e)
{
    register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b, x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d, x4 __asm__("x4") = e;
    __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4) : "memory");
    return x0;
}
#else
#error "an architecture that has no NVIDIA driver"
#endif

/* What is written, line by line. */

static char line[1 << 16];
static word used;

static void add_byte(char c) { if (used < sizeof line - 1) line[used++] = c; }
static void add(const char *text) { while (*text) add_byte(*text++); }

static void add_number(long number)
{
    char digits[24];
    int count = 0;
    if (number < 0) add_byte('-');
    word rest = number < 0 ? -(word)number : (word)number;
    do digits[count++] = '0' + rest % 10; while (rest /= 10);
    while (count) add_byte(digits[--count]);
}

/* As a JSON string, of at most 300 bytes; what is not plain ASCII becomes a question mark. */
static void add_text(const char *text)
{
    add_byte('"');
    for (int i = 0; i < 300 && text[i]; i++) {
        if (text[i] == '"' || text[i] == '\\') add_byte('\\');
        add_byte(text[i] < ' ' || text[i] > '~' ? '?' : text[i]);
    }
    add_byte('"');
}

static void write_out(word length)
{
    for (word at = 0; at < length;) {
        long done = ask(WRITE, 1, (long)(line + at), (long)(length - at), 0, 0);
        if (done <= 0) return;
        at += done;
    }
}

static void say(void) { add_byte('\n'); write_out(used); used = 0; }

static void say_pair(const char *first, const char *second) { add(first); add(second); say(); }

/* The library may have left half a line of its own. */
static void fact(const char *name) { add("\ngpudoctor-facts {\""); add(name); add("\": "); }
static void say_fact(void) { add_byte('}'); say(); }
static void number_fact(const char *name, long number) { fact(name); add_number(number); say_fact(); }
static void text_fact(const char *name, const char *text) { fact(name); add_text(text); say_fact(); }

/* The first stage. */

static int equal(const char *one, const char *other)
{
    while (*one && *one == *other) one++, other++;
    return *one == *other;
}

static int starts_with(const char *text, const char *start)
{
    while (*start && *text == *start) text++, start++;
    return !*start;
}

static const char *next(const char *text) { while (*text) text++; return text + 1; }

static int exists(const char *name) { return ask(FACCESSAT, AT_FDCWD, (long)name, 0, 0, 0) == 0; }

/* Opening for reading and writing is what the driver's libraries do; it is the device cgroup that is asked. */
static void open_node(const char *name)
{
    long opened = ask(OPENAT, AT_FDCWD, (long)name, O_RDWR | O_CLOEXEC, 0, 0);
    if (opened == -ENOENT) return;
    add("gpudoctor-node ");
    add(name);
    add_byte(' ');
    if (opened < 0) { add("errno "); add_number(-opened); } else { add("opened"); ask(CLOSE, opened, 0, 0, 0, 0); }
    say();
}

static void open_numbered(void)
{
    for (int number = 0; number < MAX_GPUS; number++) {
        char name[24] = "/dev/nvidia";
        int at = 11;
        if (number > 99) name[at++] = '0' + number / 100;
        if (number > 9) name[at++] = '0' + number / 10 % 10;
        name[at++] = '0' + number % 10;
        name[at] = 0;
        open_node(name);
    }
}

static void find_libraries(void)
{
    const char *places = "/usr/lib/" TRIPLE "/libnvidia-ml.so.1\0/usr/lib64/libnvidia-ml.so.1\0"
                         "/usr/lib/libnvidia-ml.so.1\0/usr/local/nvidia/lib/libnvidia-ml.so.1\0"
                         "/usr/local/nvidia/lib64/libnvidia-ml.so.1\0/usr/lib/wsl/lib/libnvidia-ml.so.1\0";
    for (; *places; places = next(places))
        if (exists(places)) say_pair("gpudoctor-library ", places);
}

/* Start this program again under the image's loader; return its exit code, 128 and more for a signal. */
static int run_under(const char *loader, char **arguments, char **variables)
{
    const char *command[] = {loader, arguments[0], "--linked", arguments[1], 0};
    long child = ask(CLONE, SIGCHLD, 0, 0, 0, 0);
    if (child == 0) {
        ask(EXECVE, (long)loader, (long)command, (long)variables, 0, 0);
        ask(EXIT_GROUP, ENOEXEC_EXIT, 0, 0, 0, 0);
    }
    int status = 0;
    if (child < 0 || ask(WAIT4, child, (long)&status, 0, 0, 0) != child) return ENOEXEC_EXIT;
    return status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
}

static void drop_variable(char **variables, const char *start)
{
    char **to = variables;
    for (char **from = variables; *from; from++)
        if (!starts_with(*from, start)) *to++ = *from;
    *to = 0;
}

static void on_its_own(int count, char **arguments, char **variables)
{
    say_pair("gpudoctor-inside ", "program");
    open_node("/dev/nvidiactl");
    open_numbered();
    open_node("/dev/nvidia-uvm");
    open_node("/dev/dxg");
    find_libraries();
    /* The image's own choice of devices is not a property of the path by which they came. */
    if (equal(arguments[1], "try")) drop_variable(variables, "CUDA_VISIBLE_DEVICES=");
    const char *loader = LOADERS;
    while (*loader && !exists(loader)) loader = next(loader);
    int code = ENOEXEC_EXIT;
    if (*loader) {
        code = run_under(loader, arguments, variables);
        add("\ngpudoctor-program ");
        add_number(code);
        say();
    } else {
        say_pair("gpudoctor-no-glibc ", exists(MUSL) ? "musl" : "none");
    }
    if (code == 0 || code > 128 || count < 3) return;
    ask(EXECVE, (long)arguments[2], (long)(arguments + 2), (long)variables, 0, 0);
}

/* The second stage. */

/* Whatever its type: each caller says it. */
static void *function(void *library, const char *library_name, const char *name, const char *error)
{
    void *found = dlsym(library, name);
    if (!found) {
        fact(error);
        add_byte('"'); add(library_name); add(" has no "); add(name); add_byte('"');
        say_fact();
    }
    return found;
}

static void *load(const char *name, const char *error)
{
    void *library = dlopen(name, RTLD_NOW);
    if (!library) {
        const char *why = dlerror();
        text_fact(error, why ? why : "it cannot be loaded");
    }
    return library;
}

#define NVML "libnvidia-ml.so.1"
#define CUDA "libcuda.so.1"
#define FIND(type, name, ...) \
    type (*name)(__VA_ARGS__) = function(library, OF, #name, ERROR); \
    if (!name) return

#define OF NVML
#define ERROR "nvml_error"
static void nvml(void)
{
    void *library = load(NVML, ERROR);
    if (!library) return;
    FIND(int, nvmlInit_v2, void);
    FIND(int, nvmlDeviceGetCount_v2, unsigned *);
    FIND(int, nvmlDeviceGetHandleByIndex_v2, unsigned, void **);
    FIND(int, nvmlDeviceGetUUID, void *, char *, unsigned);
    int code = nvmlInit_v2();
    number_fact("nvml_code", code);
    unsigned count = 0;
    if (code || nvmlDeviceGetCount_v2(&count)) return;
    number_fact("nvml_count", count);
    fact("uuids");
    char before = '[';
    for (unsigned gpu = 0; gpu < count && gpu < MAX_GPUS; gpu++) {
        void *device = 0;
        char uuid[97];
        uuid[0] = uuid[96] = 0;
        if (nvmlDeviceGetHandleByIndex_v2(gpu, &device) || nvmlDeviceGetUUID(device, uuid, 96)) continue;
        add_byte(before);
        add_text(uuid);
        before = ',';
    }
    add(before == '[' ? "[]" : "]");
    say_fact();
}
#undef OF
#undef ERROR

static byte written[PATTERN_BYTES], returned[PATTERN_BYTES];

static void add_cuda_uuid(const byte *raw)
{
    const char *digits = "0123456789abcdef";
    add("\"GPU-");
    for (int i = 0; i < 16; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10) add_byte('-');
        add_byte(digits[raw[i] >> 4]);
        add_byte(digits[raw[i] & 15]);
    }
    add_byte('"');
}

#define OF CUDA
#define ERROR "cuda_error"
/* Start CUDA; on each GPU write a pattern to its memory and read it back. */
static void cuda(void)
{
    void *library = load(CUDA, ERROR);
    if (!library) return;
    FIND(int, cuInit, unsigned);
    FIND(int, cuDeviceGetCount, int *);
    FIND(int, cuDeviceGet, int *, int);
    FIND(int, cuDeviceGetUuid, byte *, int);
    FIND(int, cuDevicePrimaryCtxRetain, void **, int);
    FIND(int, cuCtxSetCurrent, void *);
    FIND(int, cuMemAlloc_v2, word *, word);
    FIND(int, cuMemcpyHtoD_v2, word, const void *, word);
    FIND(int, cuMemcpyDtoH_v2, void *, word, word);
    FIND(int, cuMemFree_v2, word);
    int (*release)(int) = dlsym(library, "cuDevicePrimaryCtxRelease_v2");
    int code = cuInit(0), count = 0;
    number_fact("cuda_code", code);
    if (code || cuDeviceGetCount(&count)) return;
    number_fact("cuda_count", count);
    for (int i = 0; i < PATTERN_BYTES; i++) written[i] = i % 251;
    fact("gpus");
    for (int gpu = 0; gpu < count && gpu < MAX_GPUS; gpu++) {
        int device = 0, same = 1;
        void *context = 0;
        word memory = 0;
        byte raw[16] = {0};
        const char *step = 0;
#define STEP(call) if (!step && (code = call)) step = #call
        STEP(cuDeviceGet(&device, gpu));
        int named = !step && cuDeviceGetUuid(raw, device) == 0;
        STEP(cuDevicePrimaryCtxRetain(&context, device));
        STEP(cuCtxSetCurrent(context));
        STEP(cuMemAlloc_v2(&memory, PATTERN_BYTES));
        for (int i = 0; i < PATTERN_BYTES; i++) returned[i] = ~written[i];
        STEP(cuMemcpyHtoD_v2(memory, written, PATTERN_BYTES));
        STEP(cuMemcpyDtoH_v2(returned, memory, PATTERN_BYTES));
        for (int i = 0; !step && i < PATTERN_BYTES; i++) same &= returned[i] == written[i];
        if (memory) cuMemFree_v2(memory);
        if (context && release) release(device);
        add_byte(gpu ? ',' : '[');
        add("{\"uuid\": ");
        if (named) add_cuda_uuid(raw); else add("null");
        add(", \"ok\": ");
        add(!step && same ? "true" : "false");
        add(", \"step\": ");
        if (step) {
            add_byte('"');
            for (; *step != '('; step++) add_byte(*step);
            add("\", \"code\": ");
            add_number(code);
        } else {
            add(same ? "null, \"code\": null" : "\"comparison\", \"code\": null");
        }
        add_byte('}');
        /* All GPUs so far: the next one may end this process. */
        word length = used;
        add("]}\n");
        write_out(used);
        used = length;
    }
    used = 0;
}

static int linked(int count, char **arguments, char **variables)
{
    (void)count, (void)variables;
    nvml();
    if (equal(arguments[2], "try")) cuda();
    /* Without the libraries' own end: it proves nothing, and may hang. */
    ask(EXIT_GROUP, 0, 0, 0, 0, 0);
    return 0;
}

__attribute__((used, visibility("hidden"))) void begin(word *stack, void (*loader_fini)(void))
{
    int count = (int)stack[0];
    char **arguments = (char **)(stack + 1), **variables = arguments + count + 1;
    if (count == 3 && equal(arguments[1], "--linked"))
        __libc_start_main(linked, count, arguments, 0, 0, loader_fini, stack);
    if (count > 1) on_its_own(count, arguments, variables);
    ask(EXIT_GROUP, count > 1 ? 0 : 2, 0, 0, 0, 0);
}
