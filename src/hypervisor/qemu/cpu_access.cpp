#include "hypervisor/qemu/cpu_access.h"

#include <cstring>

namespace glasshook::hypervisor::qemu {
namespace {

constexpr std::size_t kGprCount = 16;
constexpr std::size_t kRipWord = 16;  // follows the general registers
/// The MSRs that are looked for lie at 0x2c50 in QEMU 10, behind the AMX tiles; CPUX86State and the
/// object around it are larger still.
constexpr std::size_t kSearchWords = 0x3000 / 8;
constexpr int kMaxSamples = 20000;
/// Reads by which general registers are proven, and most fields are.
constexpr int kEnoughSamples = 256;

constexpr const char* kGprNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8",
                                     "r9",  "r10", "r11", "r12", "r13", "r14", "r15", "rip"};
constexpr const char* kFieldNames[] = {"cr3", "fs_base", "gs_base", "k_gs_base"};
/// Fast reads between two checks of what was learnt.
constexpr std::uint32_t kCheckInterval = 4096;

/// Of this thread. Found without a call: plugins are loaded as QEMU starts.
[[gnu::tls_model("initial-exec")]] constinit thread_local std::uint32_t t_until_check =
    kCheckInterval;

Gpa root_of(std::uint64_t cr3) { return Gpa{cr3 & kCr3RootMask}; }

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
  const std::atomic<int>& state = state_[user_mode ? 1 : 0];
  if (state.load(std::memory_order_acquire) == kFast) [[likely]] {
    if (--t_until_check == 0) [[unlikely]] {
      t_until_check = kCheckInterval;
      check(env, user_mode);
    }
    read_fast(env, user_mode, out);
    if (!user_mode && learning_entries_.load(std::memory_order_relaxed)) learn_entries(env);
    return;
  }
  const std::lock_guard lock(mutex_);
  if (!find_handles()) {
    out = {};
    return;
  }
  if (state.load(std::memory_order_relaxed) == kLearning) learn(env, user_mode);
  read_slow(user_mode, out);
}

bool CpuAccess::read_process(const std::uint64_t* env, bool user_mode,
                             capture::CpuState& out) const {
  const Field kernel_gs = user_mode ? kKernelGs : kGsBase;
  const bool fast = state_[user_mode ? 1 : 0].load(std::memory_order_acquire) == kFast;
  if (!fast || index_[kCr3] == 0 || index_[kernel_gs] == 0) return false;
  std::memcpy(out.gpr.data(), env, kGprCount * sizeof(std::uint64_t));
  out.rip = env[kRipWord];
  out.space.root = root_of(field(env, kCr3));
  out.kernel_gs = field(env, kernel_gs);
  out.user_mode = user_mode;
  return true;
}

std::optional<probe::FrameKey> CpuAccess::frame(const std::uint64_t* env, bool user_mode) const {
  if (state_[user_mode ? 1 : 0].load(std::memory_order_acquire) != kFast || index_[kCr3] == 0)
    return std::nullopt;
  return probe::FrameKey::at(Gva{env[static_cast<std::size_t>(capture::CpuRegister::rsp)]},
                             root_of(env[index_[kCr3]]));
}

void CpuAccess::read_fast(const std::uint64_t* env, bool user_mode, capture::CpuState& out) const {
  std::memcpy(out.gpr.data(), env, kGprCount * sizeof(std::uint64_t));
  out.rip = env[kRipWord];
  out.space.root = root_of(field(env, kCr3));
  out.fs_base = field(env, kFsBase);
  out.gs_base = field(env, kGsBase);
  out.kernel_gs = user_mode ? field(env, kKernelGs) : out.gs_base;
  out.user_mode = user_mode;
  const auto entry = [&](Entry which) {
    const std::uint32_t index = entry_index_[which].load(std::memory_order_relaxed);
    return index == 0 ? 0 : env[index];
  };
  out.lstar = entry(kLstar);
  out.idt_base = entry(kIdtBase);
}

void CpuAccess::read_slow(bool user_mode, capture::CpuState& out) {
  for (std::size_t i = 0; i < kGprCount; ++i) out.gpr[i] = read_register(handles_.gpr[i]);
  out.rip = read_register(handles_.gpr[kRipWord]);
  out.space.root = root_of(read_register(handles_.fields[kCr3]));
  out.fs_base = read_register(handles_.fields[kFsBase]);
  out.gs_base = read_register(handles_.fields[kGsBase]);
  out.kernel_gs = user_mode ? read_register(handles_.fields[kKernelGs]) : out.gs_base;
  out.user_mode = user_mode;
}

bool CpuAccess::opens_with_registers(const std::uint64_t* env) const {
  for (std::size_t i = 0; i <= kRipWord; ++i)
    if (env[i] != read_register(handles_.gpr[i])) return false;
  return true;
}

void CpuAccess::learn(const std::uint64_t* env, bool user_mode) {
  if (!opens_with_registers(env)) {
    for (auto& state : state_) state.store(kSlow, std::memory_order_relaxed);
    return;
  }
  const int samples = ++samples_[user_mode ? 1 : 0];
  if (look_for_fields(env, user_mode) || samples >= kEnoughSamples)
    state_[user_mode ? 1 : 0].store(kFast, std::memory_order_release);
}

bool CpuAccess::look_for_fields(const std::uint64_t* env, bool user_mode) {
  bool all = true;
  for (int f = 0; f < kFieldCount; ++f) {
    if (!is_seen(static_cast<Field>(f), user_mode) || index_[f] != 0) continue;
    finders_[f].observe(env, kRipWord + 1, kSearchWords, read_register(handles_.fields[f]));
    if (finders_[f].proven())
      index_[f] = finders_[f].index();
    else
      all = false;
  }
  return all;
}

std::uint64_t CpuAccess::field(const std::uint64_t* env, Field which) const {
  const std::uint32_t index = index_[which].load(std::memory_order_relaxed);
  return index != 0 ? env[index] : read_register(handles_.fields[which]);
}

void CpuAccess::expect(const KernelEntries& entries) {
  const std::lock_guard lock(mutex_);
  expected_ = {entries.system_call.value, entries.interrupt_table.value};
  for (auto& finder : entry_finders_) finder = {};
  entry_samples_ = 0;
  learning_entries_ = true;
}

void CpuAccess::learn_entries(const std::uint64_t* env) {
  const std::lock_guard lock(mutex_);
  bool wanted = false;
  for (int e = 0; e < kEntryCount; ++e) {
    if (expected_[e] == 0 || entry_index_[e] != 0) continue;
    entry_finders_[e].observe(env, kRipWord + 1, kSearchWords, expected_[e]);
    if (entry_finders_[e].proven())
      entry_index_[e] = entry_finders_[e].index();
    else
      wanted = true;
  }
  if (!wanted || ++entry_samples_ > kMaxSamples) learning_entries_ = false;
}

void CpuAccess::check(const std::uint64_t* env, bool user_mode) {
  const std::lock_guard lock(mutex_);
  bool right = opens_with_registers(env);
  for (int f = 0; f < kFieldCount; ++f)
    if (is_seen(static_cast<Field>(f), user_mode) && index_[f] != 0)
      right &= env[index_[f]] == read_register(handles_.fields[f]);
  (void)look_for_fields(env, user_mode);
  if (right) return;
  for (auto& state : state_) state.store(kSlow, std::memory_order_relaxed);
}

}  // namespace glasshook::hypervisor::qemu
