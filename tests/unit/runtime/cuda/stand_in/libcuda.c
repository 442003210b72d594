/* A stand-in for libcuda.so.1 on a machine without a GPU: checks how the driver is called, and says so.

Device memory is the host's. The two kernels of tests/gpu/engines.py::chain are computed here, from the parameters that
the launch points to; every other function of the driver answers "success" and does nothing. */
#include "cuda.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct Node {
  char name[128];
  CUlaunchConfig config;
  unsigned char values[4][8];
  struct Node *next;
} Node;
typedef struct { Node *first, *last; } Row;

#define printf(...) (printf(__VA_ARGS__), fflush(stdout)) /* in the order of what Python prints */

static CUcontext current;
static Row *captured; /* while a capture runs */

static int count_of(const char *name) { return strncmp(name, "add_", 4) ? 3 : 4; }

static void take(Node *node, void **parameters) {
  int count = count_of(node->name);
  for (int i = 0; i < count; i++) memcpy(node->values[i], parameters[i], 8);
  for (int i = count; i < count + 2; i++)
    if (*(void **)parameters[i]) printf("hidden parameter %d is not null\n", i - count);
}

static void compute(const Node *node) {
  const float *a = *(float **)node->values[0];
  if (count_of(node->name) == 4) {
    const float *b = *(float **)node->values[1];
    float *out = *(float **)node->values[2];
    int n = *(int *)node->values[3];
    for (int i = 0; i < n; i++) out[i] = a[i] + b[i];
  } else {
    float *out = *(float **)node->values[1];
    int n = *(int *)node->values[2];
    for (int i = 0; i < n; i++) out[i] = 2 * a[n - 1 - i] + 1;
  }
}

static int nothing(void) { return 0; }
static int get_count(int *count) { *count = 1; return 0; }
static int get_device(int *device, int index) { *device = index; return 0; }
static int attribute(int *value, int which, int device) { *value = which == 75 ? 9 : which == 76 ? 0 : 132; return 0; }
static int name(char *text, int size, int device) { strcpy(text, "Stand-in"); return 0; }
static int total(size_t *bytes, int device) { *bytes = 1ull << 37; return 0; }
static int version(int *number) { *number = 13000; return 0; }
static int retain(CUcontext *context, int device) { *context = (CUcontext)0xC0; return 0; }
static int get_current(CUcontext *context) { *context = current; return 0; }
static int push(CUcontext context) { current = context; return 0; }
static int pop(CUcontext *context) { *context = current; current = 0; return 0; }
static int context_device(int *device) { *device = 0; return current ? 0 : CUDA_ERROR_INVALID_CONTEXT; }
static int allocate(void **address, size_t bytes) {
  if (bytes > 1ull << 36) return CUDA_ERROR_OUT_OF_MEMORY;
  *address = aligned_alloc(256, (bytes + 255) / 256 * 256);
  return 0;
}
static int allocate_host(void **address, size_t bytes, unsigned flags) { return allocate(address, bytes); }
static int release(void *address) { free(address); return 0; }
static int memory(size_t *unused, size_t *all) { *unused = 123456789; *all = 1ull << 37; return 0; }
static int copy(void *to, const void *from, size_t bytes, CUstream stream) { memcpy(to, from, bytes); return 0; }
static int load(CUmodule *module, const char *image) {
  *module = (CUmodule)0x30;
  return memcmp(image, "\177ELF", 4) ? CUDA_ERROR_INVALID_IMAGE : 0;
}
static int function(CUfunction *found, CUmodule module, const char *entry) {
  *found = (CUfunction)strdup(entry);
  return 0;
}
static int handle(void **made, unsigned flags) { static long last = 0x100; *made = (void *)(last += 16); return 0; }
static int elapsed(float *milliseconds, CUevent a, CUevent b) { *milliseconds = 1.5f; return 0; }

static int launch(const CUlaunchConfig *config, CUfunction kernel, void **parameters, void **extra) {
  Node *node = calloc(1, sizeof(Node));
  strcpy(node->name, (char *)kernel);
  node->config = *config;
  take(node, parameters);
  printf("launch %.3s blocks %u threads %u", node->name, config->gridDimX, config->blockDimX);
  for (unsigned i = 0; i < config->numAttrs; i++)
    printf(" attribute %d=%d", config->attrs[i].id, config->attrs[i].value.programmaticStreamSerializationAllowed);
  printf("\n");
  if (!captured) {
    compute(node);
  } else {
    if (captured->last) captured->last->next = node; else captured->first = node;
    captured->last = node;
  }
  return 0;
}
static int begin(CUstream stream, int mode) { captured = calloc(1, sizeof(Row)); return 0; }
static int end(CUstream stream, void **graph) { *graph = captured; captured = 0; return 0; }
static int info(CUstream stream, CUstreamCaptureStatus *status, cuuint64_t *id, CUgraph *graph,
                const CUgraphNode **nodes, const CUgraphEdgeData **edges, size_t *count) {
  static CUgraphNode node;
  static CUgraphEdgeData edge;
  node = (CUgraphNode)captured->last;
  *status = CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (nodes) *nodes = &node;
  if (edges) *edges = &edge;
  *count = 1;
  return 0;
}
static int instantiate(void **executable, void *graph, unsigned long long flags) { *executable = graph; return 0; }
static int replay(Row *graph, CUstream stream) {
  printf("replay\n");
  for (Node *node = graph->first; node; node = node->next) compute(node);
  return 0;
}
static int change(Row *graph, Node *node, const CUDA_KERNEL_NODE_PARAMS *to) {
  printf("change %.3s blocks %u threads %u\n", node->name, to->gridDimX, to->blockDimX);
  take(node, to->kernelParams);
  return 0;
}
static int encode(CUtensorMap *map, int type, unsigned rank, void *address, const cuuint64_t *sizes,
                  const cuuint64_t *strides, const cuuint32_t *box, const cuuint32_t *steps, int interleave,
                  int swizzle, int promotion, int fill) {
  printf("map type %d sizes %lu %lu stride %lu box %u %u steps %u %u swizzle %d\n", type, sizes[0], sizes[1],
         strides[0], box[0], box[1], steps[0], steps[1], swizzle);
  for (int i = 0; i < 16; i++) map->opaque[i] = i + 1;
  return 0;
}
static int sentence(int error, const char **text) { *text = "a sentence"; return 0; }

static const struct { const char *name; void *function; } table[] = {
  {"cuDeviceGetCount", get_count}, {"cuDeviceGet", get_device}, {"cuDeviceGetAttribute", attribute},
  {"cuDeviceGetName", name}, {"cuDeviceTotalMem", total}, {"cuDriverGetVersion", version},
  {"cuDevicePrimaryCtxRetain", retain}, {"cuCtxGetCurrent", get_current}, {"cuCtxPushCurrent", push},
  {"cuCtxPopCurrent", pop}, {"cuCtxGetDevice", context_device}, {"cuMemAlloc", allocate}, {"cuMemFree", release},
  {"cuMemGetInfo", memory}, {"cuMemHostAlloc", allocate_host}, {"cuMemFreeHost", release},
  {"cuMemcpyHtoDAsync", copy}, {"cuMemcpyDtoHAsync", copy}, {"cuMemcpyDtoDAsync", copy}, {"cuModuleLoadData", load},
  {"cuModuleGetFunction", function}, {"cuStreamCreate", handle}, {"cuEventCreate", handle},
  {"cuEventElapsedTime", elapsed}, {"cuLaunchKernelEx", launch}, {"cuStreamBeginCapture", begin},
  {"cuStreamEndCapture", end}, {"cuStreamGetCaptureInfo", info}, {"cuGraphInstantiate", instantiate},
  {"cuGraphInstantiateWithFlags", instantiate},
  {"cuGraphLaunch", replay}, {"cuGraphExecKernelNodeSetParams", change}, {"cuTensorMapEncodeTiled", encode},
  {"cuGetErrorString", sentence},
};

#undef cuGetProcAddress
CUresult cuGetProcAddress_v2(const char *wanted, void **found, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult *result) {
  *found = (void *)nothing;
  for (size_t i = 0; i < sizeof table / sizeof *table; i++)
    if (!strcmp(table[i].name, wanted)) *found = table[i].function;
  if (result) *result = CU_GET_PROC_ADDRESS_SUCCESS;
  return 0;
}
CUresult cuGetProcAddress(const char *wanted, void **found, int version, cuuint64_t flags) {
  return cuGetProcAddress_v2(wanted, found, version, flags, 0);
}
