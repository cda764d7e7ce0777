// The functions of NVIDIA's management library that brood asks, for a machine with so many GPUs as
// FAKE_GPUS says (2): the first an H200, the others smaller. FAKE_GPU_STATUS: what starting
// answers.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

int number_of(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atoi(text) : otherwise;
}

int gpus[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};  // a handle points into it

}  // namespace

extern "C" {

int nvmlInit_v2() { return number_of("FAKE_GPU_STATUS", 0); }

int nvmlShutdown() { return 0; }

int nvmlSystemGetDriverVersion(char* text, unsigned length) {
  std::snprintf(text, length, "580.95");
  return 0;
}

int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = static_cast<unsigned>(number_of("FAKE_GPUS", 2));
  return 0;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
  if (index >= static_cast<unsigned>(number_of("FAKE_GPUS", 2))) return 2;
  *handle = &gpus[index];
  return 0;
}

int nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
  if (std::strncmp(uuid, "GPU-", 4) != 0) return 6;
  return nvmlDeviceGetHandleByIndex_v2(static_cast<unsigned>(std::atoi(uuid + 4)), handle);
}

int nvmlDeviceGetName(void* handle, char* text, unsigned length) {
  const int number = *static_cast<int*>(handle);
  std::snprintf(text, length, "%s", number == 0 ? "NVIDIA H200" : "NVIDIA A10");
  return 0;
}

int nvmlDeviceGetMemoryInfo(void* handle, unsigned long long* total_free_used) {
  total_free_used[0] = (*static_cast<int*>(handle) == 0 ? 141ULL : 24ULL) << 30;
  return 0;
}

int nvmlDeviceGetCudaComputeCapability(void* handle, int* major, int* minor) {
  *major = *static_cast<int*>(handle) == 0 ? 9 : 8;
  *minor = *static_cast<int*>(handle) == 0 ? 0 : 6;
  return 0;
}
}
