// Builds small BTF blobs for tests, well-formed or not.
#pragma once

#include <linux/btf.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace glasshook::linux_guest {

class BtfBuilder {
 public:
  struct Field {
    std::string_view name;
    std::uint32_t type = 0;
    std::uint32_t bit_offset = 0;
  };
  struct Value {
    std::string_view name;
    std::int32_t value = 0;
  };

  std::uint32_t integer(std::string_view name, std::uint32_t bytes, std::uint32_t encoding = 0) {
    return record(BTF_KIND_INT, name, 0, false, bytes, {encoding << 24 | bytes * 8});
  }
  std::uint32_t pointer(std::uint32_t to) { return record(BTF_KIND_PTR, {}, 0, false, to, {}); }
  /// Typedef, const, volatile, restrict, or any other record that is a name and a type.
  std::uint32_t alias(std::uint32_t kind, std::string_view name, std::uint32_t of) {
    return record(kind, name, 0, false, of, {});
  }
  std::uint32_t array(std::uint32_t of, std::uint32_t length) {
    return record(BTF_KIND_ARRAY, {}, 0, false, 0, {of, 1, length});
  }
  std::uint32_t structure(std::string_view name, std::uint32_t bytes,
                          std::initializer_list<Field> fields, bool bit_fields = false,
                          std::uint32_t kind = BTF_KIND_STRUCT) {
    std::vector<std::uint32_t> words;
    for (const Field& f : fields) words.insert(words.end(), {text(f.name), f.type, f.bit_offset});
    return record(kind, name, fields.size(), bit_fields, bytes, words);
  }
  std::uint32_t enumeration(std::string_view name, std::initializer_list<Value> values) {
    std::vector<std::uint32_t> words;
    for (const Value& v : values)
      words.insert(words.end(), {text(v.name), static_cast<std::uint32_t>(v.value)});
    return record(BTF_KIND_ENUM, name, values.size(), false, 4, words);
  }
  std::uint32_t prototype(std::uint32_t result, std::initializer_list<Field> parameters) {
    std::vector<std::uint32_t> words;
    for (const Field& p : parameters) words.insert(words.end(), {text(p.name), p.type});
    return record(BTF_KIND_FUNC_PROTO, {}, parameters.size(), false, result, words);
  }
  std::uint32_t function(std::string_view name, std::uint32_t proto) {
    return record(BTF_KIND_FUNC, name, 0, false, proto, {});
  }

  /// Offset of a string, added to the string section.
  std::uint32_t text(std::string_view name) {
    if (name.empty()) return 0;
    const auto at = static_cast<std::uint32_t>(strings_.size());
    strings_.append(name).push_back('\0');
    return at;
  }

  /// Appends a raw type record; returns its id.
  std::uint32_t record(std::uint32_t kind, std::string_view name, std::size_t count, bool flag,
                       std::uint32_t size_or_type, std::vector<std::uint32_t> words) {
    types_.insert(types_.end(), {text(name),
                                 static_cast<std::uint32_t>(flag) << 31 | kind << 24 |
                                     static_cast<std::uint32_t>(count),
                                 size_or_type});
    types_.insert(types_.end(), words.begin(), words.end());
    return ++last_;
  }

  [[nodiscard]] std::vector<std::byte> blob() const {
    const auto type_bytes = static_cast<std::uint32_t>(types_.size() * 4);
    const btf_header header{.magic = BTF_MAGIC,
                            .version = BTF_VERSION,
                            .flags = 0,
                            .hdr_len = sizeof(btf_header),
                            .type_off = 0,
                            .type_len = type_bytes,
                            .str_off = type_bytes,
                            .str_len = static_cast<std::uint32_t>(strings_.size())};
    std::vector<std::byte> out;
    append(out, std::as_bytes(std::span{&header, 1}));
    append(out, std::as_bytes(std::span{types_}));
    append(out, std::as_bytes(std::span{strings_}));
    return out;
  }

 private:
  static void append(std::vector<std::byte>& out, std::span<const std::byte> bytes) {
    out.insert(out.end(), bytes.begin(), bytes.end());
  }
  std::vector<std::uint32_t> types_;
  std::string strings_ = std::string(1, '\0');
  std::uint32_t last_ = 0;
};

}  // namespace glasshook::linux_guest
