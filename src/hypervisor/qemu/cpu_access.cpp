#include "hypervisor/qemu/cpu_access.h"

#include <cstring>

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::size_t kGprCount = 16;
constexpr std::size_t kRipWord = 16;  // follows the general registers
/// CPUX86State up to the MSRs is well under this; the object around it is larger still.
constexpr std::size_t kSearchWords = 0x1200 / 8;
constexpr int kMaxSamples = 20000;

constexpr const char* kGprNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
                                     "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip"};
constexpr const char* kFieldNames[] = {"cr3", "fs_base", "gs_base", "k_gs_base"};

/// Different values after which a position counts as proven. GS bases rarely change.
constexpr int kWanted[] = {2, 2, 1, 1};

AddressSpace to_space(std::uint64_t cr3) { return {.root = Gpa{cr3 & kCr3RootMask}}; }

/// Small numbers stand in many places; an address does not.
bool is_distinctive(std::uint64_t value) { return value > 0xffff; }

}  // namespace

std::uint64_t CpuAccess::read_register(qemu_plugin_register* handle) {
  thread_local GByteArray* buffer = g_byte_array_new();
  g_byte_array_set_size(buffer, 0);
  qemu_plugin_read_register(handle, buffer);
  std::uint64_t value = 0;
  std::memcpy(&value, buffer->data, buffer->len < sizeof value ? buffer->len : sizeof value);
  return value;
}

bool CpuAccess::find_handles() {
  if (handles_.complete) return true;
  GArray* all = qemu_plugin_get_registers();
  const auto* descriptors = reinterpret_cast<const qemu_plugin_reg_descriptor*>(all->data);
  std::size_t found = 0;
  for (guint i = 0; i < all->len; ++i) {
    for (std::size_t k = 0; k < std::size(kGprNames); ++k)
      if (!std::strcmp(descriptors[i].name, kGprNames[k]))
        handles_.gpr[k] = descriptors[i].handle, ++found;
    for (std::size_t k = 0; k < std::size(kFieldNames); ++k)
      if (!std::strcmp(descriptors[i].name, kFieldNames[k]))
        handles_.fields[k] = descriptors[i].handle, ++found;
  }
  g_array_free(all, TRUE);
  handles_.complete = found == std::size(kGprNames) + std::size(kFieldNames);
  return handles_.complete;
}

void CpuAccess::read(const std::uint64_t* env, bool user_mode, capture::CpuState& out) {
  if (fast()) [[likely]] {
    read_fast(env, user_mode, out);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (!find_handles()) return;
  if (state_.load(std::memory_order_relaxed) == kLearning) learn(env);
  read_slow(user_mode, out);
}

void CpuAccess::read_fast(const std::uint64_t* env, bool user_mode, capture::CpuState& out) const {
  std::memcpy(out.gpr.data(), env, kGprCount * sizeof(std::uint64_t));
  out.rip = env[kRipWord];
  out.space = to_space(env[index_[kCr3]]);
  out.fs_base = env[index_[kFsBase]];
  out.gs_base = env[index_[kGsBase]];
  out.kernel_gs = user_mode ? env[index_[kKernelGs]] : out.gs_base;
  out.user_mode = user_mode;
}

void CpuAccess::read_slow(bool user_mode, capture::CpuState& out) {
  for (std::size_t i = 0; i < kGprCount; ++i) out.gpr[i] = read_register(handles_.gpr[i]);
  out.rip = read_register(handles_.gpr[kRipWord]);
  out.space = to_space(read_register(handles_.fields[kCr3]));
  out.fs_base = read_register(handles_.fields[kFsBase]);
  out.gs_base = read_register(handles_.fields[kGsBase]);
  out.kernel_gs = user_mode ? read_register(handles_.fields[kKernelGs]) : out.gs_base;
  out.user_mode = user_mode;
}

void CpuAccess::learn(const std::uint64_t* env) {
  for (std::size_t i = 0; i <= kRipWord; ++i)
    if (env[i] != read_register(handles_.gpr[i]) || ++samples_ > kMaxSamples * 17) {
      state_.store(kSlow, std::memory_order_relaxed);
      return;
    }
  bool proven = true;
  for (int f = 0; f < kFieldCount; ++f) {
    learn_field(static_cast<Field>(f), env);
    proven &= confirmations_[f] >= kWanted[f] && candidates_[f].size() == 1;
  }
  if (!proven) return;
  for (int f = 0; f < kFieldCount; ++f) index_[f] = candidates_[f].front();
  state_.store(kFast, std::memory_order_release);
}

void CpuAccess::learn_field(Field field, const std::uint64_t* env) {
  const std::uint64_t value = read_register(handles_.fields[field]);
  auto& candidates = candidates_[field];
  if (!candidates.empty())
    std::erase_if(candidates, [&](std::uint32_t i) { return env[i] != value; });
  if (!is_distinctive(value) || value == last_value_[field]) return;
  if (candidates.empty())
    for (std::uint32_t i = kRipWord + 1; i < kSearchWords; ++i)
      if (env[i] == value) candidates.push_back(i);
  last_value_[field] = value;
  ++confirmations_[field];
}

}  // namespace glasshook::hypervisor::qemu
