#include "guest/linux/btf_check.h"

#include <linux/btf.h>

#include <cstdint>
#include <cstring>
#include <vector>

namespace glasshook::linux_guest {
namespace {

/// Longest chain of typedefs, modifiers and arrays; C code has fewer than ten.
constexpr int kMaxChain = 64;

/// One BTF section, read by offset.
class Section {
 public:
  explicit Section(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <class T>
  [[nodiscard]] bool read(std::size_t offset, T& out) const {
    if (offset > bytes_.size() || sizeof out > bytes_.size() - offset) return false;
    std::memcpy(&out, bytes_.data() + offset, sizeof out);
    return true;
  }
  [[nodiscard]] std::size_t size() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

/// Bytes behind the header of a type record; false for a kind libbpf 1.1 does not know.
bool extra_bytes(const btf_type& type, std::size_t& out) {
  const std::size_t count = BTF_INFO_VLEN(type.info);
  switch (BTF_INFO_KIND(type.info)) {
    case BTF_KIND_INT:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG:
      out = 4;
      return true;
    case BTF_KIND_ARRAY:
      out = sizeof(btf_array);
      return true;
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION:
      out = count * sizeof(btf_member);
      return true;
    case BTF_KIND_ENUM:
      out = count * sizeof(btf_enum);
      return true;
    case BTF_KIND_FUNC_PROTO:
      out = count * sizeof(btf_param);
      return true;
    case BTF_KIND_DATASEC:
      out = count * sizeof(btf_var_secinfo);
      return true;
    case BTF_KIND_ENUM64:
      out = count * sizeof(btf_enum64);
      return true;
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG:
      out = 0;
      return true;
    default:
      return false;
  }
}

/// True when `btf_type::type` holds a type id (and not a size).
bool refers(std::uint32_t kind) {
  switch (kind) {
    case BTF_KIND_PTR:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FUNC_PROTO:
    case BTF_KIND_VAR:
    case BTF_KIND_DECL_TAG:
    case BTF_KIND_TYPE_TAG:
      return true;
    default:
      return false;
  }
}

class Checker {
 public:
  Checker(Section types, std::size_t string_bytes) : types_(types), string_bytes_(string_bytes) {}

  Result<> run() {
    if (auto ok = find_records(); !ok) return ok;
    for (std::uint32_t id = 1; id < records_.size(); ++id)
      if (const char* wrong = check_record(id))
        return fail(ErrorCode::guest_fault, "BTF type {}: {}", id, wrong);
    for (std::uint32_t id = 1; id < records_.size(); ++id)
      if (!chain_ends(id)) return fail(ErrorCode::guest_fault, "BTF type {}: endless chain", id);
    return {};
  }

 private:
  /// Fills records_: the offset of each type; index 0 is void.
  Result<> find_records() {
    records_.push_back(0);
    for (std::size_t at = 0; at < types_.size();) {
      btf_type type;
      std::size_t extra = 0;
      if (!types_.read(at, type) || !extra_bytes(type, extra) ||
          extra > types_.size() - at - sizeof type)
        return fail(ErrorCode::guest_fault, "BTF type {} is cut off or of an unknown kind",
                    records_.size());
      records_.push_back(static_cast<std::uint32_t>(at));
      at += sizeof type + extra;
    }
    return {};
  }

  [[nodiscard]] bool id_ok(std::uint32_t id) const { return id < records_.size(); }
  [[nodiscard]] bool name_ok(std::uint32_t offset) const { return offset < string_bytes_; }
  /// The header of a type whose id is known to be good and not void.
  [[nodiscard]] btf_type header(std::uint32_t id) const {
    btf_type type{};
    (void)types_.read(records_[id], type);
    return type;
  }
  [[nodiscard]] std::uint32_t kind(std::uint32_t id) const {
    return id == 0 ? static_cast<std::uint32_t>(BTF_KIND_UNKN) : BTF_INFO_KIND(header(id).info);
  }

  /// What is wrong with a type record, or nullptr.
  [[nodiscard]] const char* check_record(std::uint32_t id) const {
    const btf_type type = header(id);
    if (!name_ok(type.name_off)) return "name outside the strings";
    if (refers(BTF_INFO_KIND(type.info)) && !id_ok(type.type)) return "undefined type";
    const std::size_t body = records_[id] + sizeof type;
    const std::size_t count = BTF_INFO_VLEN(type.info);
    switch (BTF_INFO_KIND(type.info)) {
      case BTF_KIND_ARRAY:
        return check_array(body);
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
        return check_pairs<btf_member>(body, count);
      case BTF_KIND_FUNC_PROTO:
        return check_pairs<btf_param>(body, count);
      case BTF_KIND_ENUM:
        return check_names<btf_enum>(body, count);
      case BTF_KIND_ENUM64:
        return check_names<btf_enum64>(body, count);
      case BTF_KIND_DATASEC:
        return check_variables(body, count);
      case BTF_KIND_FUNC:
        return kind(type.type) == BTF_KIND_FUNC_PROTO ? nullptr : "function without a prototype";
      default:
        return nullptr;
    }
  }

  [[nodiscard]] const char* check_array(std::size_t at) const {
    btf_array array;
    return types_.read(at, array) && id_ok(array.type) && id_ok(array.index_type)
               ? nullptr
               : "array of an undefined type";
  }

  /// Members or parameters: a name and a type each.
  template <class Entry>
  [[nodiscard]] const char* check_pairs(std::size_t at, std::size_t count) const {
    Entry entry;
    for (std::size_t i = 0; i < count; ++i)
      if (!types_.read(at + i * sizeof entry, entry) || !name_ok(entry.name_off) ||
          !id_ok(entry.type))
        return "bad member or parameter";
    return nullptr;
  }

  template <class Entry>
  [[nodiscard]] const char* check_names(std::size_t at, std::size_t count) const {
    Entry entry;
    for (std::size_t i = 0; i < count; ++i)
      if (!types_.read(at + i * sizeof entry, entry) || !name_ok(entry.name_off))
        return "bad enumerator";
    return nullptr;
  }

  [[nodiscard]] const char* check_variables(std::size_t at, std::size_t count) const {
    btf_var_secinfo variable;
    for (std::size_t i = 0; i < count; ++i)
      if (!types_.read(at + i * sizeof variable, variable) || !id_ok(variable.type))
        return "bad variable";
    return nullptr;
  }

  /// Follows typedefs, modifiers and arrays; every other kind ends a chain.
  [[nodiscard]] bool chain_ends(std::uint32_t id) const {
    for (int step = 0; step < kMaxChain; ++step) {
      if (id == 0) return true;
      const btf_type type = header(id);
      switch (BTF_INFO_KIND(type.info)) {
        case BTF_KIND_TYPEDEF:
        case BTF_KIND_VOLATILE:
        case BTF_KIND_CONST:
        case BTF_KIND_RESTRICT:
        case BTF_KIND_TYPE_TAG:
          id = type.type;
          break;
        case BTF_KIND_ARRAY: {
          btf_array array{};
          (void)types_.read(records_[id] + sizeof type, array);
          id = array.type;
          break;
        }
        default:
          return true;
      }
    }
    return false;
  }

  Section types_;
  std::size_t string_bytes_;
  std::vector<std::uint32_t> records_;
};

}  // namespace

Result<> check_btf(std::span<const std::byte> blob) {
  if (blob.size() > kMaxBtfBytes)
    return fail(ErrorCode::limit, "BTF of {} MiB is larger than {} MiB", blob.size() >> 20,
                kMaxBtfBytes >> 20);
  btf_header header;
  if (!Section{blob}.read(0, header) || header.magic != BTF_MAGIC || header.version != BTF_VERSION)
    return fail(ErrorCode::guest_fault, "no BTF header");
  const std::uint64_t types_at = std::uint64_t{header.hdr_len} + header.type_off;
  const std::uint64_t strings_at = std::uint64_t{header.hdr_len} + header.str_off;
  if (header.hdr_len < sizeof header || types_at % 4 != 0 || types_at > strings_at ||
      header.type_len > strings_at - types_at || strings_at > blob.size() || header.str_len == 0 ||
      header.str_len > blob.size() - strings_at)
    return fail(ErrorCode::guest_fault, "BTF sections do not fit the blob");
  const auto strings = blob.subspan(strings_at, header.str_len);
  if (strings.front() != std::byte{0} || strings.back() != std::byte{0})
    return fail(ErrorCode::guest_fault, "BTF strings are not NUL-terminated");
  return Checker{Section{blob.subspan(types_at, header.type_len)}, strings.size()}.run();
}

}  // namespace glasshook::linux_guest
