/* A stand-in libcuda.so.1 for the machine that GPUDOCTOR_STANDIN_CUDA describes. Device memory is host memory.
 *
 *   cuda = 12020                        the driver's CUDA version
 *   gpu.1.corrupt = 3                   each copy to the host has that many wrong bytes
 *   gpu.0.peer = 1, gpu.0.peer.2 = 0    peer access, to all and to one
 *   gpu.0.peer_corrupt = 5              copies from this GPU straight to another have that many wrong bytes
 *   gpu.0.copy_rate = 3000000000        bytes per second of copies from and to the host
 */
#include "machine.h"

#define MAX_GPUS 64
enum { OK = 0, INVALID = 1, NO_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, NO_CONTEXT = 201, UNSUPPORTED = 217 };

typedef struct { int gpu; } Context;
typedef struct { int gpu; size_t size; } Header;
static Context contexts[MAX_GPUS];
static Context *current;
static int visible[MAX_GPUS], visible_count = -1;

static const char *uuid_of(int gpu)
{
    static char made[80];
    snprintf(made, sizeof made, "GPU-00000000-0000-4000-8000-%012d", gpu);
    return look(gpu, "uuid") ? look(gpu, "uuid") : made;
}

/* As CUDA does: the first entry that names no GPU ends the list. */
static void choose_visible(void)
{
    int count = number(look(-1, "count"), 0);
    const char *list = getenv("CUDA_VISIBLE_DEVICES");
    visible_count = 0;
    if (!list) {
        for (int gpu = 0; gpu < count; gpu++)
            if (!node_errno(gpu)) visible[visible_count++] = gpu;
        return;
    }
    char *copy = strdup(list), *rest = NULL;
    for (char *entry = strtok_r(copy, ",", &rest); entry; entry = strtok_r(NULL, ",", &rest)) {
        int found = -1;
        for (int gpu = 0; gpu < count; gpu++)
            if (!strcmp(entry, uuid_of(gpu)) || (*entry >= '0' && *entry <= '9' && atoi(entry) == gpu)) found = gpu;
        if (found < 0 || node_errno(found)) break;
        visible[visible_count++] = found;
    }
}

#define ENTER(symbol, gpu) do { \
    int code = visible_count < 0 ? NOT_INITIALIZED : trouble(gpu, #symbol); if (code) return code; } while (0)
#define ENTER_CONTEXT(symbol) do { \
    if (!current) \
        return NO_CONTEXT; \
    ENTER(symbol, current->gpu); } while (0)

API int cuInit(unsigned flags)
{
    machine_load("GPUDOCTOR_STANDIN_CUDA", "");
    if (look(-1, "banner")) { printf("%s\n", look(-1, "banner")); fflush(stdout); }
    int code = trouble(-1, "cuInit");
    if (code || flags) return code ? code : INVALID;
    if (node_errno(-1)) return node_errno(-1) == ENOENT ? NO_DEVICE : 999;
    choose_visible();
    for (int i = 0; i < visible_count; i++)
        if ((code = trouble(visible[i], "cuInit"))) return code;
    return visible_count ? OK : NO_DEVICE;
}

API int cuDriverGetVersion(int *out)
{
    machine_load("GPUDOCTOR_STANDIN_CUDA", "");
    *out = number(look(-1, "cuda"), 12020);
    return trouble(-1, "cuDriverGetVersion");
}

API int cuGetErrorName(int code, const char **out)
{
    *out = code == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : code == 999 ? "CUDA_ERROR_UNKNOWN" : "CUDA_ERROR_STAND_IN";
    return OK;
}

API int cuDeviceGetCount(int *out) { ENTER(cuDeviceGetCount, -1); *out = visible_count; return OK; }

API int cuDeviceGet(int *out, int ordinal)
{
    ENTER(cuDeviceGet, -1);
    if (ordinal < 0 || ordinal >= visible_count) return 101;
    *out = visible[ordinal];
    return trouble(*out, "cuDeviceGet");
}

API int cuDeviceGetUuid(unsigned char *out, int device)
{
    ENTER(cuDeviceGetUuid, device);
    const char *at = uuid_of(device) + 4;
    for (int i = 0; i < 16; i++, at += 2) {
        while (*at == '-') at++;
        unsigned byte = 0;
        sscanf(at, "%2x", &byte);
        out[i] = byte;
    }
    return OK;
}

API int cuDevicePrimaryCtxRetain(Context **out, int device)
{
    ENTER(cuDevicePrimaryCtxRetain, device);
    contexts[device].gpu = device;
    *out = &contexts[device];
    return OK;
}

API int cuCtxSetCurrent(Context *context) { ENTER(cuCtxSetCurrent, -1); current = context; return OK; }
API int cuCtxSynchronize(void) { ENTER_CONTEXT(cuCtxSynchronize); return OK; }

API int cuMemAlloc_v2(uint64_t *out, size_t size)
{
    ENTER_CONTEXT(cuMemAlloc_v2);
    Header *header = malloc(sizeof *header + size);
    if (!header) return NO_MEMORY;
    header->gpu = current->gpu, header->size = size;
    *out = (uint64_t)(uintptr_t)(header + 1);
    return OK;
}

API int cuMemFree_v2(uint64_t at) { ENTER_CONTEXT(cuMemFree_v2); free((Header *)(uintptr_t)at - 1); return OK; }

API int cuMemAllocHost_v2(void **out, size_t size)
{
    ENTER_CONTEXT(cuMemAllocHost_v2);
    *out = malloc(size);
    return *out ? OK : NO_MEMORY;
}

API int cuMemFreeHost(void *at) { ENTER_CONTEXT(cuMemFreeHost); free(at); return OK; }

API int cuMemsetD8_v2(uint64_t at, unsigned char value, size_t size)
{
    ENTER_CONTEXT(cuMemsetD8_v2);
    memset((void *)(uintptr_t)at, value, size);
    return OK;
}

static void take_time(int gpu, size_t size)
{
    long long rate = number(look(gpu, "copy_rate"), 0);
    if (rate) usleep(size * 1000000.0 / rate);
}

static void spoil(unsigned char *at, size_t size, long long wrong)
{
    for (long long i = 0; i < wrong && (size_t)i < size; i++) at[i] ^= 0x40;
}

API int cuMemcpyHtoD_v2(uint64_t to, const void *from, size_t size)
{
    ENTER_CONTEXT(cuMemcpyHtoD_v2);
    memcpy((void *)(uintptr_t)to, from, size);
    take_time(current->gpu, size);
    return OK;
}

API int cuMemcpyDtoH_v2(void *to, uint64_t from, size_t size)
{
    ENTER_CONTEXT(cuMemcpyDtoH_v2);
    memcpy(to, (void *)(uintptr_t)from, size);
    spoil(to, size, number(look(current->gpu, "corrupt"), 0));
    take_time(current->gpu, size);
    return OK;
}

API int cuMemcpyDtoD_v2(uint64_t to, uint64_t from, size_t size)
{
    ENTER_CONTEXT(cuMemcpyDtoD_v2);
    memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
    return OK;
}

API int cuDeviceCanAccessPeer(int *out, int device, int peer)
{
    ENTER(cuDeviceCanAccessPeer, device);
    const char *one = look(device, "peer.%d", peer);
    *out = number(one ? one : look(device, "peer"), 0);
    return OK;
}

API int cuCtxEnablePeerAccess(Context *peer, unsigned flags)
{
    ENTER_CONTEXT(cuCtxEnablePeerAccess);
    return peer && !flags ? OK : UNSUPPORTED;
}

API int cuMemcpyPeer(uint64_t to, Context *there, uint64_t from, Context *here, size_t size)
{
    ENTER(cuMemcpyPeer, here->gpu);
    (void)there;
    memcpy((void *)(uintptr_t)to, (void *)(uintptr_t)from, size);
    spoil((void *)(uintptr_t)to, size, number(look(here->gpu, "peer_corrupt"), 0));
    return OK;
}
