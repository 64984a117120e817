// Types of values inside capture expressions: C integers, and the guest kernel's BTF types.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "guest/linux/types.h"
#include "hook/expression.h"

namespace glasshook::hook {

/// A C integer of `size` bytes (0: void), or a BTF type, behind `pointers` more pointers.
struct ValueType {
  bool is_btf = false;
  std::uint8_t size = 8;
  bool is_signed = false;
  linux_guest::TypeId btf;
  int pointers = 0;

  [[nodiscard]] static ValueType integer(std::uint8_t size, bool is_signed) {
    return {.is_btf = false, .size = size, .is_signed = is_signed, .btf = {}, .pointers = 0};
  }
  [[nodiscard]] static ValueType of(linux_guest::TypeId type, int pointers = 0) {
    return {.is_btf = true, .size = 8, .is_signed = false, .btf = type, .pointers = pointers};
  }
  [[nodiscard]] ValueType pointer_to() const {
    ValueType type = *this;
    ++type.pointers;
    return type;
  }
};

/// Answers questions about value types. Works without BTF too: then all there is are C integers.
class TypeSystem {
 public:
  explicit TypeSystem(const linux_guest::KernelTypes* types) : types_(types) {}

  [[nodiscard]] const linux_guest::KernelTypes* kernel_types() const { return types_; }
  /// What a cast means; empty when the name is unknown.
  [[nodiscard]] std::optional<ValueType> find(const TypeName& name) const;
  /// What a pointer points to; empty for other types.
  [[nodiscard]] std::optional<ValueType> pointee(const ValueType& type) const;
  [[nodiscard]] std::optional<ValueType> array_element(const ValueType& type) const;
  [[nodiscard]] std::uint32_t array_length(const ValueType& type) const;
  [[nodiscard]] bool is_struct(const ValueType& type) const;
  [[nodiscard]] bool is_signed(const ValueType& type) const;
  /// Bytes; 0 for void.
  [[nodiscard]] std::uint64_t size(const ValueType& type) const;
  [[nodiscard]] bool is_struct_named(const ValueType& type, std::string_view name) const;
  [[nodiscard]] std::string spelling(const ValueType& type) const;

 private:
  const linux_guest::KernelTypes* types_;
};

}  // namespace glasshook::hook
