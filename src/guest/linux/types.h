// The guest kernel's own type information (BTF), read with libbpf.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace glasshook::linux_guest {

/// A BTF type id of one KernelTypes.
struct TypeId {
  std::uint32_t value = 0;  ///< 0 is void
  auto operator<=>(const TypeId&) const = default;
};

/// A member found by name, through anonymous structs and unions.
struct Member {
  TypeId type;
  std::uint32_t bit_offset = 0;  ///< from the start of the outermost struct
  std::uint32_t bit_size = 0;    ///< of a bit field; 0 for ordinary members

  [[nodiscard]] std::uint32_t offset() const { return bit_offset / 8; }
};

struct Parameter {
  std::string name;  ///< empty where BTF has none
  TypeId type;
};

struct Prototype {
  std::vector<Parameter> parameters;
  TypeId result;
};

/// Types and function prototypes of one kernel. Immutable after parse; safe from any thread.
class KernelTypes {
 public:
  /// Parses and checks a raw BTF blob copied from the guest.
  [[nodiscard]] static Result<KernelTypes> parse(std::span<const std::byte> blob);

  KernelTypes(KernelTypes&&) noexcept;
  KernelTypes& operator=(KernelTypes&&) noexcept;
  ~KernelTypes();

  [[nodiscard]] std::size_t type_count() const;
  /// A struct or union by name (largest wins when the name is defined twice).
  [[nodiscard]] std::optional<TypeId> find_struct(std::string_view name) const;
  [[nodiscard]] std::optional<TypeId> find_typedef(std::string_view name) const;
  [[nodiscard]] std::optional<Prototype> find_function(std::string_view name) const;
  /// Value of an enumerator, whatever enum it is in.
  [[nodiscard]] std::optional<std::int64_t> find_enumerator(std::string_view name) const;

  [[nodiscard]] std::optional<Member> member(TypeId structure, std::string_view name) const;
  /// Names of the members, through anonymous structs and unions, at most 4096: for "did you mean".
  [[nodiscard]] std::vector<std::string> member_names(TypeId structure) const;
  /// Byte offset of a member path such as ("task_struct", "signal") or ("mm_struct", "exe_file"),
  /// or with dots through embedded structs ("file", "f_path.dentry").
  [[nodiscard]] Result<std::uint32_t> offset(std::string_view structure,
                                             std::string_view member_path) const;

  /// Without typedef, const, volatile, restrict and tags.
  [[nodiscard]] TypeId resolve(TypeId type) const;
  [[nodiscard]] std::optional<TypeId> pointee(TypeId type) const;        ///< of a pointer
  [[nodiscard]] std::optional<TypeId> array_element(TypeId type) const;  ///< of an array
  [[nodiscard]] std::uint32_t array_length(TypeId type) const;
  [[nodiscard]] bool is_struct(TypeId type) const;  ///< or union, after resolve()
  [[nodiscard]] bool is_signed_integer(TypeId type) const;
  [[nodiscard]] bool is_char_pointer(TypeId type) const;
  /// Bytes, 0 for void and functions.
  [[nodiscard]] std::uint64_t size(TypeId type) const;
  /// C spelling, as in "struct task_struct *".
  [[nodiscard]] std::string spelling(TypeId type) const;

 private:
  class Index;
  explicit KernelTypes(std::unique_ptr<Index> index);
  std::unique_ptr<Index> index_;
};

}  // namespace glasshook::linux_guest
