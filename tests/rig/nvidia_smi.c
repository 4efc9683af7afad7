/* A small nvidia-smi over whatever libnvidia-ml.so.1 there is: with -L or without, it lists the GPUs.
 * Exit codes and the texts on stdout are those that the genuine one gives for the same NVML codes.
 */
#include <dlfcn.h>
#include <stdio.h>

int main(void)
{
    void *library = dlopen("libnvidia-ml.so.1", RTLD_NOW);
    if (!library) {
        puts("NVIDIA-SMI couldn't find libnvidia-ml.so library in your system. Please make sure that the NVIDIA "
             "Display Driver is properly installed and present in your system.");
        return 12;
    }
    int (*start)(void) = dlsym(library, "nvmlInit_v2");
    int (*how_many)(unsigned *) = dlsym(library, "nvmlDeviceGetCount_v2");
    int (*by_index)(unsigned, void **) = dlsym(library, "nvmlDeviceGetHandleByIndex_v2");
    int (*name_of)(void *, char *, unsigned) = dlsym(library, "nvmlDeviceGetName");
    int (*uuid_of)(void *, char *, unsigned) = dlsym(library, "nvmlDeviceGetUUID");
    int code = start();
    switch (code) {
    case 0: break;
    case 4: puts("Failed to initialize NVML: Insufficient Permissions"); return 4;
    case 9:
        puts("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure that the latest "
             "NVIDIA driver is installed and running.");
        return 9;
    case 18: puts("Failed to initialize NVML: Driver/library version mismatch"); return 18;
    default: puts("Failed to initialize NVML: Unknown Error"); return 255;
    }
    unsigned count = 0;
    how_many(&count);
    if (!count) {
        puts("No devices were found");
        return 6;
    }
    for (unsigned index = 0; index < count; index++) {
        void *device;
        char name[96] = "?", uuid[96] = "?";
        if (by_index(index, &device)) continue;
        name_of(device, name, sizeof name);
        uuid_of(device, uuid, sizeof uuid);
        printf("GPU %u: %s (UUID: %s)\n", index, name, uuid);
    }
    return 0;
}
