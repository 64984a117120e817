// What to read behind the parameters of a signature, and behind pointers in structures.
#include <algorithm>
#include <charconv>

#include "api/call.h"
#include "api/scalars.h"
#include "api/structures.h"

namespace glasshook::api {
namespace {

/// What the type says by itself, a count that is a number included.
PointedData by_type(const Vocabulary& vocabulary, const Type& type) {
  using Kind = PointedData::Kind;
  PointedData data;
  if (!is_followed(type.kind)) return data;
  const std::string& from = type.length_from;
  std::from_chars(from.data(), from.data() + from.size(), data.count);
  switch (type.kind) {
    case TypeKind::string:
    case TypeKind::path:
      data.kind = from.empty() ? Kind::string : Kind::bytes;
      return data;
    case TypeKind::utf16:
      data.kind = Kind::utf16;
      data.is_counted = !from.empty();
      if (data.is_counted && !type.length_in_bytes) data.element_size = 2;
      return data;
    case TypeKind::string_array:
      data.kind = Kind::string_array;
      return data;
    case TypeKind::buffer:
    case TypeKind::registry_data:
    case TypeKind::registry_data_ansi:
      data.kind = Kind::bytes;
      return data;
    case TypeKind::structure:
      data.element_size = vocabulary.structure_size(type.name);
      if (data.element_size == 0) return data;
      if (!from.empty() && is_counted_in_bytes(type.name)) data.element_size = 1;
      data.kind = Kind::bytes;
      return data;
    default:
      data.kind = Kind::kernel;
      return data;
  }
}

bool is_number(const std::string& length) { return length[0] >= '0' && length[0] <= '9'; }

/// Lists the pointers of one signature's structures.
class NestedPlan {
 public:
  explicit NestedPlan(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {}

  /// Where a walk is: in the structure of entry `parent`, `base` bytes into it.
  struct Position {
    std::size_t parameter;
    int parent = -1;
    std::uint32_t base = 0;
    int depth = 0;
    std::string path = {};
  };

  void add(const Position& at, const StructureLayout& layout) {
    if (at.depth == kMaxNestedDepth) return;
    const bool is_text = is_single_value(layout);
    for (const StructureField& field : layout.fields) {
      Position inside = at;
      inside.base += field.offset;
      if (!is_text) inside.path += (at.path.empty() ? "" : ".") + field.name;
      if (field.place == StructureField::Place::pointer) {
        add_pointer(std::move(inside), at.base, layout, field);
      } else if (field.place == StructureField::Place::embedded) {
        ++inside.depth;
        if (const StructureLayout* part = vocabulary_.find_structure(field.type.name))
          add(inside, *part);
      }
    }
  }

  std::vector<NestedData> take() { return std::move(plan_); }

 private:
  void add_pointer(Position at, std::uint32_t base, const StructureLayout& layout,
                   const StructureField& field) {
    if (plan_.size() == kMaxNested) return;
    NestedData nested{.parameter = at.parameter,
                      .parent = at.parent,
                      .offset = at.base,
                      .data = by_type(vocabulary_, field.type),
                      .type = &field.type,
                      .path = at.path};
    if (nested.data.kind == PointedData::Kind::none) return;
    const std::string& from = field.type.length_from;
    if (!from.empty() && !is_number(from)) {
      const auto length = std::ranges::find(layout.fields, from, &StructureField::name);
      if (length == layout.fields.end()) return;
      nested.data.count_size = length->type.size;
      nested.data.count_offset = base + length->offset;
    }
    const int index = static_cast<int>(plan_.size());
    plan_.push_back(std::move(nested));
    if (field.type.kind != TypeKind::structure) return;
    if (const StructureLayout* pointee = vocabulary_.find_structure(field.type.name))
      add({.parameter = at.parameter,
           .parent = index,
           .base = 0,
           .depth = at.depth + 1,
           .path = std::move(at.path)},
          *pointee);
  }

  const Vocabulary& vocabulary_;
  std::vector<NestedData> plan_;
};

}  // namespace

PointedData pointed_data(const Vocabulary& vocabulary, const Signature& signature,
                         std::size_t index) {
  if (index >= signature.parameters.size() || index >= kMaxParameters) return {};
  const Type& type = signature.parameters[index].type;
  PointedData data = by_type(vocabulary, type);
  if (data.kind == PointedData::Kind::none || type.length_from.empty()) return data;
  data.count_is_result = type.length_from == "ret";
  for (std::size_t i = 0; i < signature.parameters.size(); ++i) {
    const Parameter& other = signature.parameters[i];
    if (other.name == type.length_times) data.factor_parameter = static_cast<int>(i);
    if (other.name != type.length_from) continue;
    data.count_parameter = static_cast<int>(i);
    if (type.length_field.empty()) continue;
    const std::string_view name = type.length_field == "*" ? std::string_view{} : type.length_field;
    const StructureField* field = vocabulary.find_field(other.type.name, name);
    if (!field) return {};
    data.count_size = field->type.size;
    data.count_offset = field->offset;
  }
  return data;
}

std::vector<NestedData> nested_data(const Vocabulary& vocabulary, const Signature& signature) {
  NestedPlan plan(vocabulary);
  const std::size_t count = std::min(signature.parameters.size(), kMaxParameters);
  for (std::size_t i = 0; i < count; ++i) {
    const Type& type = signature.parameters[i].type;
    if (type.kind != TypeKind::structure) continue;
    if (const StructureLayout* layout = vocabulary.find_structure(type.name))
      plan.add({.parameter = i}, *layout);
  }
  return plan.take();
}

}  // namespace glasshook::api
