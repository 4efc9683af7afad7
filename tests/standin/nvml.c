/* A stand-in libnvidia-ml.so.1 whose machine is described by the file that GPUDOCTOR_STANDIN_NVML names.
 * A figure that the machine does not give is "not supported". Without the variable it is 8 x H100.
 */
#include "machine.h"

#define MAX_GPUS 64
enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, SIZE = 7, NO_DRIVER = 9, CORRUPTED = 14, VERSION = 25, UNKNOWN = 999 };

static const char built_in[] =
#include "machines/8x-h100-hgx.txt"
    ;

typedef struct { int gpu, instance; } Device;
static Device devices[MAX_GPUS], instances[MAX_GPUS][8];
static int started, count;

typedef struct { char old_bus[16]; unsigned domain, bus, device, id, subsystem; char address[32]; } Pci;
typedef struct { uint64_t total, free, used; } Memory;
typedef struct { unsigned version; uint64_t total, reserved, free, used; } MemoryV2;
typedef struct { uint64_t total, free, used; } Bar1;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned max, high, partial, low, none; } Histogram;
typedef struct { unsigned field, scope; int64_t time, latency; unsigned type, code; uint64_t value; } Field;
typedef struct { unsigned version; uint64_t counts[11]; unsigned exceeded; } Sram;
typedef struct { unsigned version, channel, tpc; } Repair;
typedef struct { unsigned version; int margin; } Margin;
typedef struct { unsigned version, sensor; int temperature; } TemperatureV;
typedef struct { unsigned char cluster[16]; unsigned status, clique, state; } FabricV1;
typedef struct { unsigned version; unsigned char cluster[16]; unsigned status, clique, state, health; } FabricV2;
typedef struct { FabricV2 v2; unsigned char summary; } FabricV3;
typedef struct { unsigned pid; uint64_t bytes; } ProcessV1;
typedef struct { unsigned pid; uint64_t bytes; unsigned gpu_instance, compute_instance; } ProcessV2;
typedef struct { ProcessV2 v2; uint64_t protected_bytes; } Process535;

API int standin_sizeof(const char *name)
{
    static const struct { const char *name; int size; } sizes[] = {
        {"nvmlPciInfo_t", sizeof(Pci)}, {"c_nvmlMemory_t", sizeof(Memory)}, {"c_nvmlMemory_v2_t", sizeof(MemoryV2)},
        {"c_nvmlBAR1Memory_t", sizeof(Bar1)}, {"c_nvmlUtilization_t", sizeof(Utilization)},
        {"c_nvmlRowRemapperHistogramValues", sizeof(Histogram)}, {"c_nvmlFieldValue_t", sizeof(Field)},
        {"c_nvmlEccSramErrorStatus_v1_t", sizeof(Sram)}, {"c_nvmlRepairStatus_t", sizeof(Repair)},
        {"c_nvmlMarginTemperature_v1_t", sizeof(Margin)}, {"c_nvmlTemperature_v1_t", sizeof(TemperatureV)},
        {"c_nvmlGpuFabricInfo_t", sizeof(FabricV1)}, {"c_nvmlGpuFabricInfo_v2_t", sizeof(FabricV2)},
        {"c_nvmlGpuFabricInfo_v3_t", sizeof(FabricV3)}, {"c_nvmlProcessInfo_v2_t", sizeof(ProcessV2)},
    };
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (!strcmp(sizes[i].name, name)) return sizes[i].size;
    return 0;
}

static int text(const char *value, char *out, unsigned length)
{
    if (!value) return NOT_SUPPORTED;
    if (strlen(value) >= length) return SIZE;
    strcpy(out, value);
    return OK;
}

static int whole(const char *value, unsigned *out)
{
    if (value) *out = number(value, 0);
    return value ? OK : NOT_SUPPORTED;
}

static int large(const char *value, uint64_t *out)
{
    if (value) *out = number(value, 0);
    return value ? OK : NOT_SUPPORTED;
}

static int enter(int gpu, const char *symbol)
{
    return started ? trouble(gpu, symbol) : UNINITIALIZED;
}

#define ENTER(symbol) do { int code = d ? enter(d->gpu, #symbol) : INVALID; if (code) return code; } while (0)
#define TEXT(symbol, field) \
    API int symbol(Device *d, char *out, unsigned length) { ENTER(symbol); return text(look(d->gpu, field), out, length); }
#define WHOLE(symbol, field) \
    API int symbol(Device *d, unsigned *out) { ENTER(symbol); return whole(look(d->gpu, field), out); }
#define PAIR(symbol, field, other) \
    API int symbol(Device *d, unsigned *a, unsigned *b) \
    { ENTER(symbol); int code = whole(look(d->gpu, field), a); return code ? code : whole(look(d->gpu, other), b); }

API int nvmlInitWithFlags(unsigned flags)
{
    (void)flags;
    machine_load("GPUDOCTOR_STANDIN_NVML", built_in);
    if (look(-1, "banner")) { printf("%s\n", look(-1, "banner")); fflush(stdout); }
    int code = trouble(-1, "nvmlInitWithFlags");
    if (code) return code;
    switch (node_errno(-1)) {
    case 0: break;
    case ENOENT: return NO_DRIVER;
    case EACCES: return NO_PERMISSION;
    default: return UNKNOWN;
    }
    started = 1;
    count = 0;
    for (int gpu = 0; gpu < number(look(-1, "count"), 0) && gpu < MAX_GPUS; gpu++)
        if (!node_errno(gpu)) devices[count++].gpu = gpu;
    return OK;
}

API int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
API int nvmlShutdown(void) { int code = enter(-1, "nvmlShutdown"); started = 0; return code; }
API const char *nvmlErrorString(int code) { return code == 999 ? "Unknown Error" : "stand-in error"; }

#define SYSTEM(symbol, field) \
    API int symbol(char *out, unsigned length) \
    { int code = enter(-1, #symbol); return code ? code : text(look(-1, field), out, length); }
SYSTEM(nvmlSystemGetDriverVersion, "driver")
SYSTEM(nvmlSystemGetNVMLVersion, "nvml")
#define SYSTEM_NUMBER(symbol, field) \
    API int symbol(unsigned *out) { int code = enter(-1, #symbol); return code ? code : whole(look(-1, field), out); }
SYSTEM_NUMBER(nvmlSystemGetCudaDriverVersion, "cuda")
SYSTEM_NUMBER(nvmlSystemGetCudaDriverVersion_v2, "cuda")

API int nvmlDeviceGetCount_v2(unsigned *out)
{
    int code = enter(-1, "nvmlDeviceGetCount_v2");
    *out = count;
    return code;
}

API int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out)
{
    int code = enter((int)index < count ? devices[index].gpu : (int)index, "nvmlDeviceGetHandleByIndex_v2");
    if (code) return code;
    if ((int)index >= count) return INVALID;
    *out = &devices[index];
    return OK;
}

static const char *uuid_of(int gpu)
{
    static char made[80];
    snprintf(made, sizeof made, "GPU-00000000-0000-4000-8000-%012d", gpu);
    return look(gpu, "uuid") ? look(gpu, "uuid") : made;
}

API int nvmlDeviceGetHandleByUUID(const char *uuid, Device **out)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(uuid, uuid_of(devices[i].gpu))) continue;
        int code = enter(devices[i].gpu, "nvmlDeviceGetHandleByUUID");
        *out = &devices[i];
        return code;
    }
    return NOT_FOUND;
}

TEXT(nvmlDeviceGetName, "name")
TEXT(nvmlDeviceGetSerial, "serial")
TEXT(nvmlDeviceGetVbiosVersion, "vbios")
WHOLE(nvmlDeviceGetMinorNumber, "minor")
WHOLE(nvmlDeviceGetArchitecture, "architecture")
PAIR(nvmlDeviceGetCudaComputeCapability, "capability.major", "capability.minor")

API int nvmlDeviceGetUUID(Device *d, char *out, unsigned length)
{
    ENTER(nvmlDeviceGetUUID);
    return text(uuid_of(d->gpu), out, length);
}

static int pci(const char *bus, unsigned id, unsigned subsystem, Pci *out)
{
    if (!bus) return NOT_SUPPORTED;
    unsigned domain = 0, number = 0, device = 0;
    sscanf(bus, "%x:%x:%x", &domain, &number, &device);
    memset(out, 0, sizeof *out);
    out->domain = domain, out->bus = number, out->device = device, out->id = id, out->subsystem = subsystem;
    snprintf(out->old_bus, sizeof out->old_bus, "%04X:%02X:%02X.0", domain & 0xffff, number & 0xff, device & 0xff);
    snprintf(out->address, sizeof out->address, "%08X:%02X:%02X.0", domain, number, device);
    return OK;
}

API int nvmlDeviceGetPciInfo_v3(Device *d, Pci *out)
{
    ENTER(nvmlDeviceGetPciInfo_v3);
    return pci(look(d->gpu, "bus"), number(look(d->gpu, "pci_id"), 0), number(look(d->gpu, "subsystem"), 0), out);
}

API int nvmlDeviceGetMemoryInfo(Device *d, Memory *out)
{
    ENTER(nvmlDeviceGetMemoryInfo);
    uint64_t reserved = number(look(d->gpu, "memory.reserved"), 0);
    if (!look(d->gpu, "memory.total")) return NOT_SUPPORTED;
    out->total = number(look(d->gpu, "memory.total"), 0);
    out->used = number(look(d->gpu, "memory.used"), 0) + reserved;
    out->free = out->total - out->used;
    return OK;
}

API int nvmlDeviceGetMemoryInfo_v2(Device *d, MemoryV2 *out)
{
    ENTER(nvmlDeviceGetMemoryInfo_v2);
    if (out->version != (sizeof *out | 2 << 24)) return VERSION;
    Memory first;
    int code = nvmlDeviceGetMemoryInfo(d, &first);
    if (code) return code;
    out->reserved = number(look(d->gpu, "memory.reserved"), 0);
    out->total = first.total, out->free = first.free, out->used = first.used - out->reserved;
    return OK;
}

API int nvmlDeviceGetBAR1MemoryInfo(Device *d, Bar1 *out)
{
    ENTER(nvmlDeviceGetBAR1MemoryInfo);
    int code = large(look(d->gpu, "bar1.total"), &out->total);
    out->used = number(look(d->gpu, "bar1.used"), 0);
    out->free = out->total - out->used;
    return code;
}

PAIR(nvmlDeviceGetEccMode, "ecc.mode", "ecc.pending")

static const char *const severity[] = {"corrected", "uncorrected"}, *const span[] = {"volatile", "aggregate"};

API int nvmlDeviceGetTotalEccErrors(Device *d, unsigned kind, unsigned counter, uint64_t *out)
{
    ENTER(nvmlDeviceGetTotalEccErrors);
    return large(look(d->gpu, "ecc.%s.%s", span[counter & 1], severity[kind & 1]), out);
}

API int nvmlDeviceGetMemoryErrorCounter(Device *d, unsigned kind, unsigned counter, unsigned place, uint64_t *out)
{
    ENTER(nvmlDeviceGetMemoryErrorCounter);
    const char *where = place == 2 ? "dram" : place == 7 ? "sram" : "other";
    return large(look(d->gpu, "ecc.%s.%s.%s", span[counter & 1], where, severity[kind & 1]), out);
}

API int nvmlDeviceGetSramEccErrorStatus(Device *d, Sram *out)
{
    ENTER(nvmlDeviceGetSramEccErrorStatus);
    return out->version == (sizeof *out | 1 << 24) ? whole(look(d->gpu, "sram.exceeded"), &out->exceeded) : VERSION;
}

API int nvmlDeviceGetRemappedRows(Device *d, unsigned *corrected, unsigned *uncorrected, unsigned *pending, unsigned *failed)
{
    ENTER(nvmlDeviceGetRemappedRows);
    *uncorrected = number(look(d->gpu, "rows.uncorrected"), 0);
    *pending = number(look(d->gpu, "rows.pending"), 0);
    *failed = number(look(d->gpu, "rows.failed"), 0);
    return whole(look(d->gpu, "rows.corrected"), corrected);
}

API int nvmlDeviceGetRowRemapperHistogram(Device *d, Histogram *out)
{
    ENTER(nvmlDeviceGetRowRemapperHistogram);
    memset(out, 0, sizeof *out);
    return whole(look(d->gpu, "rows.exhausted"), &out->none);
}

API int nvmlDeviceGetRetiredPages(Device *d, unsigned cause, unsigned *size, uint64_t *out)
{
    ENTER(nvmlDeviceGetRetiredPages);
    const char *pages = look(d->gpu, cause ? "retired.double" : "retired.single");
    unsigned n = number(pages, 0);
    if (!pages) return NOT_SUPPORTED;
    if (*size < n) { *size = n; return SIZE; }
    for (unsigned i = 0; out && i < n; i++) out[i] = 0x1000 * (i + 1);
    *size = n;
    return OK;
}

WHOLE(nvmlDeviceGetRetiredPagesPendingStatus, "retired.pending")

API int nvmlDeviceGetFieldValues(Device *d, int size, Field *out)
{
    ENTER(nvmlDeviceGetFieldValues);
    for (int i = 0; i < size; i++) {
        const char *value = look(d->gpu, "field.%u", out[i].field);
        /* A driver that is older than the field calls it an invalid argument. */
        out[i].code = value ? OK : out[i].field > (unsigned)number(look(-1, "newest_field"), 300) ? INVALID : NOT_SUPPORTED;
        out[i].type = 3;
        out[i].value = number(value, 0);
    }
    return OK;
}

API int nvmlDeviceGetRepairStatus(Device *d, Repair *out)
{
    ENTER(nvmlDeviceGetRepairStatus);
    if (out->version != (sizeof *out | 1 << 24)) return VERSION;
    int code = whole(look(d->gpu, "repair.channel"), &out->channel);
    return code ? code : whole(look(d->gpu, "repair.tpc"), &out->tpc);
}

API int nvmlDeviceValidateInforom(Device *d)
{
    ENTER(nvmlDeviceValidateInforom);
    const char *valid = look(d->gpu, "inforom");
    return !valid ? NOT_SUPPORTED : number(valid, 1) ? OK : CORRUPTED;
}

API int nvmlDeviceGetTemperature(Device *d, unsigned sensor, unsigned *out)
{
    ENTER(nvmlDeviceGetTemperature);
    return sensor ? INVALID : whole(look(d->gpu, "temperature"), out);
}

API int nvmlDeviceGetTemperatureV(Device *d, TemperatureV *out)
{
    ENTER(nvmlDeviceGetTemperatureV);
    return out->version == (sizeof *out | 1 << 24) ? whole(look(d->gpu, "temperature"), (unsigned *)&out->temperature) : VERSION;
}

API int nvmlDeviceGetTemperatureThreshold(Device *d, unsigned which, unsigned *out)
{
    ENTER(nvmlDeviceGetTemperatureThreshold);
    return whole(look(d->gpu, "temperature.threshold.%u", which), out);
}

API int nvmlDeviceGetMarginTemperature(Device *d, Margin *out)
{
    ENTER(nvmlDeviceGetMarginTemperature);
    return out->version == (sizeof *out | 1 << 24) ? whole(look(d->gpu, "temperature.margin"), (unsigned *)&out->margin) : VERSION;
}

/* Nanoseconds since the driver loaded: policy 0 is power, 1 heat. */
API int nvmlDeviceGetViolationStatus(Device *d, unsigned policy, uint64_t out[2])
{
    ENTER(nvmlDeviceGetViolationStatus);
    out[0] = 0;
    return large(look(d->gpu, "violation.%u", policy), &out[1]);
}

/* A list such as 0x1,0x4,0x40 gives one value to each call, then its last one for ever. */
static int reasons(Device *d, uint64_t *out)
{
    static int calls[MAX_GPUS];
    const char *at = look(d->gpu, "clock.reasons"), *next;
    if (!at) return NOT_SUPPORTED;
    for (int i = 0; i < calls[d->gpu] && (next = strchr(at, ',')); i++) at = next + 1;
    calls[d->gpu]++;
    return large(at, out);
}

API int nvmlDeviceGetCurrentClocksEventReasons(Device *d, uint64_t *out)
{
    ENTER(nvmlDeviceGetCurrentClocksEventReasons);
    return reasons(d, out);
}

API int nvmlDeviceGetCurrentClocksThrottleReasons(Device *d, uint64_t *out)
{
    ENTER(nvmlDeviceGetCurrentClocksThrottleReasons);
    return reasons(d, out);
}

#include "nvml_board.h"
