#include "api/from_btf.h"

#include <algorithm>
#include <array>
#include <optional>

#include "api/call.h"

namespace glasshook::api {
namespace {

using linux_guest::KernelTypes;
using linux_guest::Prototype;
using linux_guest::TypeId;

struct NamedKind {
  std::string_view name;
  TypeKind kind;
};

constexpr auto kObjects = std::to_array<NamedKind>({
    {"struct file", TypeKind::kernel_file},
    {"struct path", TypeKind::kernel_path},
    {"struct dentry", TypeKind::kernel_dentry},
    {"struct filename", TypeKind::kernel_filename},
    {"struct task_struct", TypeKind::kernel_task},
});

/// Structures whose layout is that of a user-mode one in the vocabulary.
constexpr std::array<std::pair<std::string_view, std::string_view>, 4> kStructures = {{
    {"struct sockaddr", "sockaddr"},
    {"struct __kernel_sockaddr_storage", "sockaddr"},
    {"struct sockaddr_storage", "sockaddr"},
    {"struct timespec64", "timespec"},
}};

constexpr auto kTypedefs = std::to_array<NamedKind>({
    {"umode_t", TypeKind::mode},
    {"mode_t", TypeKind::mode},
    {"pid_t", TypeKind::process_id},
    {"__kernel_pid_t", TypeKind::process_id},
    {"gfp_t", TypeKind::hex},
    {"dev_t", TypeKind::hex},
    {"fmode_t", TypeKind::hex},
});

// BTF has no user-pointer or noreturn attributes: what a parameter is called has to do.
constexpr std::string_view kPathNames[] = {"path", "pathname", "filename", "name", "kernel_path"};
constexpr std::string_view kCountNames[] = {"count",  "len",    "size",   "nbytes",
                                            "length", "buflen", "bufsiz", "nr_bytes"};
constexpr std::string_view kDescriptorNames[] = {"fd", "dfd", "oldfd", "newfd", "ufd"};
constexpr std::string_view kNoReturn[] = {"do_exit", "do_group_exit", "make_task_dead", "panic",
                                          "do_task_dead"};

bool is_in(std::string_view name, const auto& names) {
  return std::ranges::find(names, name) != std::ranges::end(names);
}

TypeKind kind_in(std::string_view name, const auto& table, TypeKind otherwise) {
  const auto found = std::ranges::find(table, name, &NamedKind::name);
  return found == table.end() ? otherwise : found->kind;
}

class Conversion {
 public:
  explicit Conversion(const KernelTypes& types) : types_(types) {}

  Signature run(std::string_view name, const Prototype& prototype) {
    signature_.module = kKernelModule;
    signature_.name = name;
    signature_.category = kKernelModule;
    for (const linux_guest::Parameter& parameter : prototype.parameters)
      if (!add(parameter)) break;
    find_counts();
    add_result(prototype.result);
    signature_.returns = !is_in(name, kNoReturn);
    return std::move(signature_);
  }

 private:
  /// False when nothing behind this parameter can be located.
  bool add(const linux_guest::Parameter& parameter) {
    constexpr std::uint64_t kRegister = 8;
    const TypeId resolved = types_.resolve(parameter.type);
    if (resolved.value == 0) {  // "..." is a last parameter without a type
      signature_.variadic = true;
      return false;
    }
    const std::uint64_t size = types_.size(resolved);
    std::string name = parameter.name.empty() ? fmt::format("arg{}", signature_.parameters.size())
                                              : parameter.name;
    // System V ABI 3.2.3: structures of up to two words travel in registers, others in memory.
    const bool is_struct = types_.is_struct(resolved);
    if (is_struct && size > 2 * kRegister) {
      signature_.variadic = true;
      return false;
    }
    if (size <= kRegister) return append(std::move(name), convert(parameter.type, parameter.name));
    const Type half{.kind = TypeKind::hex,
                    .name = {},
                    .length_from = {},
                    .length_times = {},
                    .spelling = types_.spelling(parameter.type)};
    return append(name, half) && append(name + "_high", half);
  }

  bool append(std::string name, Type type) {
    if (signature_.parameters.size() == kMaxParameters) return false;
    signature_.parameters.push_back({.name = std::move(name),
                                     .type = std::move(type),
                                     .direction = Direction::in,
                                     .only_if = {}});
    return true;
  }

  Type convert(TypeId id, std::string_view name) const {
    const TypeId resolved = types_.resolve(id);
    Type type{.kind = TypeKind::integer,
              .size = static_cast<std::uint8_t>(types_.size(resolved)),
              .is_signed = types_.is_signed_integer(resolved),
              .name = {},
              .length_from = {},
              .length_times = {},
              .spelling = types_.spelling(id)};
    if (types_.pointee(resolved)) {
      convert_pointer(resolved, name, type);
    } else if (types_.is_struct(resolved)) {
      type.kind = TypeKind::hex;  // kuid_t and the like, in one register
    } else {
      convert_integer(resolved, name, type);
    }
    return type;
  }

  void convert_pointer(TypeId pointer, std::string_view name, Type& type) const {
    type.size = 8;
    type.is_signed = false;
    type.kind = TypeKind::pointer;
    if (types_.is_char_pointer(pointer)) {
      type.kind = is_in(name, kPathNames) ? TypeKind::path : TypeKind::string;
      return;
    }
    const std::string pointee = types_.spelling(types_.resolve(*types_.pointee(pointer)));
    type.kind = kind_in(pointee, kObjects, TypeKind::pointer);
    for (const auto& [kernel_name, layout] : kStructures) {
      if (pointee != kernel_name) continue;
      type.kind = TypeKind::structure;
      type.name = layout;
    }
  }

  void convert_integer(TypeId resolved, std::string_view name, Type& type) const {
    const std::string spelling = types_.spelling(resolved);
    type.kind = kind_in(type.spelling, kTypedefs, TypeKind::integer);
    if (type.kind != TypeKind::integer) return;
    if (spelling == "_Bool" || spelling == "bool") {
      type.kind = TypeKind::boolean;
    } else if (type.is_signed && type.size == 4 && is_in(name, kDescriptorNames)) {
      type.kind = TypeKind::descriptor;
    } else if (type.is_signed && type.size == 4 && name == "sig") {
      type.kind = TypeKind::signal;
      type.name = "signal_names";
    } else if (!type.is_signed && (name.contains("flags") || name.contains("addr"))) {
      type.kind = TypeKind::hex;
    }
  }

  /// `char *buf, size_t count` is a buffer. A buffer that is not const is filled by the function.
  void find_counts() {
    for (std::size_t i = 0; i + 1 < signature_.parameters.size(); ++i) {
      Parameter& buffer = signature_.parameters[i];
      const Parameter& count = signature_.parameters[i + 1];
      if (buffer.type.kind != TypeKind::string || count.type.kind != TypeKind::integer ||
          !is_in(count.name, kCountNames))
        continue;
      buffer.type.kind = TypeKind::buffer;
      buffer.type.length_from = count.name;
      if (!buffer.type.spelling.starts_with("const ")) buffer.direction = Direction::out;
    }
  }

  void add_result(TypeId id) {
    if (types_.resolve(id).value == 0) {
      signature_.result = Type{.kind = TypeKind::nothing,
                               .size = 0,
                               .name = {},
                               .length_from = {},
                               .length_times = {},
                               .spelling = "void"};
      return;
    }
    signature_.result = convert(id, {});
    Type& result = signature_.result;
    if (types_.pointee(types_.resolve(id))) {
      result.kind = TypeKind::pointer;
      signature_.convention = ResultConvention::error_pointer;
    } else if (result.is_signed && result.size >= 4) {
      signature_.convention = ResultConvention::errno_if_negative;
      // As many bytes as the function says it has read (ssize_t).
      for (Parameter& p : signature_.parameters)
        if (p.type.kind == TypeKind::buffer && p.direction == Direction::out && result.size == 8)
          p.type.length_from = "ret";
    }
  }

  const KernelTypes& types_;
  Signature signature_;
};

}  // namespace

Result<Signature> signature_from_btf(const KernelTypes& types, std::string_view function) {
  const std::optional<Prototype> prototype = types.find_function(function);
  if (!prototype)
    return with_remedy(
        fail(ErrorCode::not_found, "the kernel has no prototype of {}", function),
        "only functions that are not inlined everywhere have one; look with: glasshook symbols");
  return Conversion(types).run(function, *prototype);
}

}  // namespace glasshook::api
