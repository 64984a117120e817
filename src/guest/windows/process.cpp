#include "guest/windows/process.h"

#include <algorithm>
#include <array>
#include <set>

#include "guest/windows/limits.h"

namespace glasshook::windows {
namespace {

struct UnicodeString {
  std::uint16_t length, capacity;  // bytes
  std::uint32_t padding;
  std::uint64_t buffer;
};
static_assert(sizeof(UnicodeString) == 16);

struct TebHead {
  std::uint64_t exception_list, stack_base, stack_limit, sub_system, fiber, user, self;
  std::uint64_t environment, process_id, thread_id, rpc_handle, tls_pointer, peb;
  std::uint32_t last_error;
};
static_assert(offsetof(TebHead, self) == kTebSelf && offsetof(TebHead, peb) == kTebPeb &&
              offsetof(TebHead, process_id) == kTebProcessId &&
              offsetof(TebHead, thread_id) == kTebThreadId &&
              offsetof(TebHead, last_error) == kTebLastError);

struct PebHead {
  std::array<std::uint8_t, 8> flags;
  std::uint64_t mutant, image_base, loader_data, parameters;
};
static_assert(offsetof(PebHead, parameters) == 0x20);
constexpr std::uint64_t kPebVersion = 0x118;

struct Version {
  std::uint32_t major, minor;
  std::uint16_t build;
};

struct Parameters {  // RTL_USER_PROCESS_PARAMETERS
  std::uint32_t maximum_length, length, flags, debug_flags;
  std::array<std::uint64_t, 5> console_and_standard_handles;
  UnicodeString current_directory;
  std::uint64_t current_directory_handle;
  UnicodeString dll_path, image_path, command_line;
};
static_assert(offsetof(Parameters, current_directory) == 0x38 &&
              offsetof(Parameters, image_path) == 0x60 &&
              offsetof(Parameters, command_line) == 0x70);
/// Without this flag, buffers are offsets from the structure.
constexpr std::uint32_t kParametersNormalized = 1;

struct ModuleEntry {  // LDR_DATA_TABLE_ENTRY
  std::uint64_t next, previous;
  std::array<std::uint64_t, 4> other_links;
  std::uint64_t base, entry_point;
  std::uint32_t size, padding;
  UnicodeString path, name;
};
static_assert(offsetof(ModuleEntry, base) == 0x30 && offsetof(ModuleEntry, path) == 0x48 &&
              offsetof(ModuleEntry, name) == 0x58);
constexpr std::uint64_t kLoaderModuleList = 0x10;  // PEB_LDR_DATA.InLoadOrderModuleList

void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  const auto tail = [&](int shift) { put(0x80 | (c >> shift & 0x3f)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xc0 | c >> 6);
    tail(0);
  } else if (c < 0x10000) {
    put(0xe0 | c >> 12);
    tail(6);
    tail(0);
  } else {
    put(0xf0 | c >> 18);
    tail(12);
    tail(6);
    tail(0);
  }
}

/// The text of a UNICODE_STRING whose buffer lies `bias` above what it says; as much as is there.
std::string read_text(const ProcessMemory& memory, const UnicodeString& string,
                      std::uint64_t bias = 0) {
  std::u16string text(std::min<std::size_t>(string.length, kMaxStringBytes) / 2, u'\0');
  const std::span<std::byte> bytes = std::as_writable_bytes(std::span{text});
  const std::uint64_t from = string.buffer + bias;
  if (string.buffer == 0) return {};
  std::size_t done = 0;
  while (done < bytes.size()) {
    const std::size_t size =
        std::min<std::size_t>(bytes.size() - done, kPageSize - (from + done) % kPageSize);
    if (!memory.read(from + done, bytes.subspan(done, size))) break;
    done += size;
  }
  return utf8_of_utf16(std::u16string_view(text).substr(0, done / 2));
}

}  // namespace

std::string utf8_of_utf16(std::u16string_view text) {
  const auto is_high = [](char16_t c) { return c >= 0xd800 && c < 0xdc00; };
  const auto is_low = [](char16_t c) { return c >= 0xdc00 && c < 0xe000; };
  constexpr std::uint32_t kReplacement = 0xfffd;
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char16_t c = text[i];
    if (is_high(c) && i + 1 < text.size() && is_low(text[i + 1])) {
      append_utf8(out, 0x10000 + ((c - 0xd800u) << 10) + (text[i + 1] - 0xdc00u));
      ++i;
    } else {
      append_utf8(out, is_high(c) || is_low(c) ? kReplacement : c);
    }
  }
  return out;
}

std::optional<Teb> read_teb(const ProcessMemory& memory, Gva teb) {
  if (teb.is_null()) return std::nullopt;
  const auto head = memory.read_value<TebHead>(teb.value);
  if (!head || head->self != teb.value) return std::nullopt;
  return Teb{.address = teb,
             .stack_base = Gva{head->stack_base},
             .stack_limit = Gva{head->stack_limit},
             .process_id = static_cast<std::uint32_t>(head->process_id),
             .thread_id = static_cast<std::uint32_t>(head->thread_id),
             .peb = Gva{head->peb},
             .last_error = head->last_error};
}

Result<Peb> read_peb(const ProcessMemory& memory, Gva peb) {
  const auto head = memory.read_value<PebHead>(peb.value);
  if (!head) return fail(ErrorCode::guest_fault, "the PEB is not in memory");
  const auto version = memory.read_value<Version>(peb.value + kPebVersion).value_or(Version{});
  return Peb{.being_debugged = head->flags[2] != 0,
             .image_base = Gva{head->image_base},
             .loader_data = Gva{head->loader_data},
             .parameters = Gva{head->parameters},
             .os_major = version.major,
             .os_minor = version.minor,
             .os_build = version.build};
}

Result<ProcessParameters> read_parameters(const ProcessMemory& memory, Gva parameters) {
  const auto found = memory.read_value<Parameters>(parameters.value);
  if (parameters.is_null() || !found)
    return fail(ErrorCode::guest_fault, "the process parameters are not in memory");
  const std::uint64_t bias = (found->flags & kParametersNormalized) != 0 ? 0 : parameters.value;
  return ProcessParameters{.image_path = read_text(memory, found->image_path, bias),
                           .command_line = read_text(memory, found->command_line, bias),
                           .current_directory = read_text(memory, found->current_directory, bias)};
}

LoadedModules read_modules(const ProcessMemory& memory, Gva loader_data) {
  LoadedModules modules;
  const auto stop = [&](ErrorCode code, const char* why) {
    modules.incomplete = Error{code, why, {}};
    return modules;
  };
  const std::uint64_t head = loader_data.value + kLoaderModuleList;
  const auto first = memory.read_value<std::uint64_t>(head);
  if (loader_data.is_null() || !first)
    return stop(ErrorCode::guest_fault, "the loader's list of modules is not in memory");
  std::set<std::uint64_t> seen;
  std::size_t text_budget = 8u << 20;
  for (std::uint64_t at = *first; at != head;) {
    if (modules.items.size() == kMaxLoadedModules)
      return stop(ErrorCode::limit, "the loader's list of modules is too long");
    if (!seen.insert(at).second)
      return stop(ErrorCode::guest_fault, "the loader's list of modules runs into itself");
    const auto entry = memory.read_value<ModuleEntry>(at);
    if (!entry)
      return stop(ErrorCode::guest_fault, "an entry of the loader's list is not in memory");
    LoadedModule module{.base = Gva{entry->base},
                        .size = entry->size,
                        .entry_point = Gva{entry->entry_point},
                        .path = read_text(memory, entry->path),
                        .name = read_text(memory, entry->name)};
    const std::size_t text = module.path.size() + module.name.size();
    if (text > text_budget)
      return stop(ErrorCode::limit, "the names in the loader's list are too long");
    text_budget -= text;
    modules.items.push_back(std::move(module));
    at = entry->next;
  }
  return modules;
}

}  // namespace glasshook::windows
