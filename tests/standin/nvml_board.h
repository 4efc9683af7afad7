/* The second half of nvml.c: power, links, modes, processes and neighbours. */

WHOLE(nvmlDeviceGetFanSpeed, "fan")
WHOLE(nvmlDeviceGetPerformanceState, "performance_state")
WHOLE(nvmlDeviceGetPowerUsage, "power")
WHOLE(nvmlDeviceGetPowerManagementLimit, "power.limit")
WHOLE(nvmlDeviceGetEnforcedPowerLimit, "power.enforced")
WHOLE(nvmlDeviceGetPowerManagementDefaultLimit, "power.default")
PAIR(nvmlDeviceGetPowerManagementLimitConstraints, "power.min", "power.max")
WHOLE(nvmlDeviceGetCurrPcieLinkGeneration, "pcie.generation")
WHOLE(nvmlDeviceGetCurrPcieLinkWidth, "pcie.width")
WHOLE(nvmlDeviceGetMaxPcieLinkGeneration, "pcie.max_generation")
WHOLE(nvmlDeviceGetMaxPcieLinkWidth, "pcie.max_width")
WHOLE(nvmlDeviceGetGpuMaxPcieLinkGeneration, "pcie.card_generation")
PAIR(nvmlDeviceGetMigMode, "mig.mode", "mig.pending")
WHOLE(nvmlDeviceGetComputeMode, "compute_mode")
WHOLE(nvmlDeviceGetPersistenceMode, "persistence")
WHOLE(nvmlDeviceGetDisplayActive, "display")

API int nvmlDeviceGetUtilizationRates(Device *d, Utilization *out)
{
    ENTER(nvmlDeviceGetUtilizationRates);
    out->memory = 0;
    return whole(look(d->gpu, "utilization"), &out->gpu);
}

API int nvmlDeviceGetClockInfo(Device *d, unsigned kind, unsigned *out)
{
    ENTER(nvmlDeviceGetClockInfo);
    return whole(look(d->gpu, "clock.%u", kind), out);
}

API int nvmlDeviceGetMaxClockInfo(Device *d, unsigned kind, unsigned *out)
{
    ENTER(nvmlDeviceGetMaxClockInfo);
    return whole(look(d->gpu, "clock.max.%u", kind), out);
}

/* pcie.replays_step is how much the counter grows from one call to the next. */
API int nvmlDeviceGetPcieReplayCounter(Device *d, unsigned *out)
{
    static unsigned calls[MAX_GPUS];
    ENTER(nvmlDeviceGetPcieReplayCounter);
    int code = whole(look(d->gpu, "pcie.replays"), out);
    if (!code) *out += calls[d->gpu]++ * number(look(d->gpu, "pcie.replays_step"), 0);
    return code;
}

static int link_there(Device *d, unsigned link)
{
    if (!look(d->gpu, "nvlink.count")) return NOT_SUPPORTED;
    return link < number(look(d->gpu, "nvlink.count"), 0) ? OK : INVALID;
}

/* What one link says, else what all links of the GPU say. */
static const char *link_look(Device *d, unsigned link, const char *field)
{
    const char *own = look(d->gpu, "nvlink.%u.%s", link, field);
    return own ? own : look(d->gpu, "nvlink.%s", field);
}

API int nvmlDeviceGetNvLinkState(Device *d, unsigned link, unsigned *out)
{
    ENTER(nvmlDeviceGetNvLinkState);
    int code = link_there(d, link);
    return code ? code : whole(link_look(d, link, "state"), out);
}

API int nvmlDeviceGetNvLinkRemotePciInfo_v2(Device *d, unsigned link, Pci *out)
{
    ENTER(nvmlDeviceGetNvLinkRemotePciInfo_v2);
    int code = link_there(d, link);
    return code ? code : pci(link_look(d, link, "remote"), 0, 0, out);
}

API int nvmlDeviceGetNvLinkRemoteDeviceType(Device *d, unsigned link, unsigned *out)
{
    ENTER(nvmlDeviceGetNvLinkRemoteDeviceType);
    int code = link_there(d, link);
    return code ? code : whole(link_look(d, link, "type"), out);
}

API int nvmlDeviceGetNvLinkErrorCounter(Device *d, unsigned link, unsigned counter, uint64_t *out)
{
    static unsigned calls[MAX_GPUS][64];
    static const char *const names[] = {"replay", "recovery", "crc", "crc_data", "ecc"};
    ENTER(nvmlDeviceGetNvLinkErrorCounter);
    int code = link_there(d, link);
    if (!code && counter > 4) code = INVALID;
    if (!code) code = large(link_look(d, link, names[counter]), out);
    if (!code && counter == 2) *out += calls[d->gpu][link & 63]++ * number(link_look(d, link, "crc_step"), 0);
    return code;
}

static int fabric(Device *d, unsigned *status, unsigned *state)
{
    *status = number(look(d->gpu, "fabric.status"), 0);
    return whole(look(d->gpu, "fabric.state"), state);
}

API int nvmlDeviceGetGpuFabricInfo(Device *d, FabricV1 *out)
{
    ENTER(nvmlDeviceGetGpuFabricInfo);
    return fabric(d, &out->status, &out->state);
}

API int nvmlDeviceGetGpuFabricInfoV(Device *d, FabricV2 *out)
{
    ENTER(nvmlDeviceGetGpuFabricInfoV);
    if (out->version != (sizeof(FabricV2) | 2 << 24) && out->version != (sizeof(FabricV3) | 3 << 24)) return VERSION;
    out->health = number(look(d->gpu, "fabric.health"), 0);
    return fabric(d, &out->status, &out->state);
}

API int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out)
{
    ENTER(nvmlDeviceGetMaxMigDeviceCount);
    *out = look(d->gpu, "mig.mode") ? 7 : 0;
    return OK;
}

API int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **out)
{
    ENTER(nvmlDeviceGetMigDeviceHandleByIndex);
    if (index >= 7) return INVALID;
    if (index >= number(look(d->gpu, "mig.instances"), 0)) return NOT_FOUND;
    instances[d->gpu][index].gpu = d->gpu;
    instances[d->gpu][index].instance = index + 1;
    *out = &instances[d->gpu][index];
    return OK;
}

API int nvmlDeviceGetGpuInstanceId(Device *d, unsigned *out)
{
    ENTER(nvmlDeviceGetGpuInstanceId);
    *out = d->instance;
    return d->instance ? OK : INVALID;
}

/* proc.0 = C,PID,BYTES: compute (C) or graphics (G); gaps in the numbering are allowed up to 16. */
static int processes(Device *d, char kind, unsigned *size, void *out, int width)
{
    unsigned n = 0, room = *size;
    for (int i = 0; i < 16; i++) {
        const char *line = look(d->gpu, "proc.%d", i), *bytes;
        if (!line || line[0] != kind || !(bytes = strchr(line + 2, ','))) continue;
        if (out && n < room) {
            Process535 entry = {{strtoul(line + 2, NULL, 10), strtoull(bytes + 1, NULL, 0), ~0u, ~0u}, 0};
            memcpy((char *)out + n * width, &entry, width);
        }
        n++;
    }
    *size = n;
    return n > room ? SIZE : OK;
}

#define PROCESSES(symbol, kind, width) \
    API int symbol(Device *d, unsigned *size, void *out) { ENTER(symbol); return processes(d, kind, size, out, width); }
/* process_layout = 535: the first releases of that branch returned a longer structure under the same name. */
#define V3_WIDTH (number(look(-1, "process_layout"), 0) == 535 ? sizeof(Process535) : sizeof(ProcessV2))
PROCESSES(nvmlDeviceGetComputeRunningProcesses, 'C', sizeof(ProcessV1))
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, 'C', sizeof(ProcessV2))
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, 'C', V3_WIDTH)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses, 'G', sizeof(ProcessV1))
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, 'G', sizeof(ProcessV2))
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, 'G', V3_WIDTH)

/* topology = 40 for every pair, topology.3 = 10 with GPU 3; p2p likewise. */
static const char *pair_look(Device *d, Device *other, const char *field)
{
    const char *own = look(d->gpu, "%s.%d", field, other->gpu);
    return own ? own : look(d->gpu, "%s", field);
}

API int nvmlDeviceGetTopologyCommonAncestor(Device *d, Device *other, unsigned *out)
{
    ENTER(nvmlDeviceGetTopologyCommonAncestor);
    return whole(pair_look(d, other, "topology"), out);
}

API int nvmlDeviceGetP2PStatus(Device *d, Device *other, unsigned capability, unsigned *out)
{
    ENTER(nvmlDeviceGetP2PStatus);
    (void)capability;
    return whole(pair_look(d, other, "p2p"), out);
}
