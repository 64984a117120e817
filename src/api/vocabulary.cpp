#include "api/vocabulary.h"

#include <algorithm>

namespace glasshook::api {
namespace {

template <class Map>
const typename Map::mapped_type* find(const Map& map, std::string_view name) {
  const auto found = map.find(name);
  return found == map.end() ? nullptr : &found->second;
}

}  // namespace

const ValueSet* Vocabulary::find_set(std::string_view name) const { return find(sets, name); }

const StructureLayout* Vocabulary::find_structure(std::string_view name) const {
  return find(structures, name);
}

std::uint32_t Vocabulary::structure_size(std::string_view name) const {
  const StructureLayout* layout = find_structure(name);
  return layout ? layout->size : 0;
}

const StructureField* Vocabulary::find_field(std::string_view structure,
                                             std::string_view field) const {
  const StructureLayout* layout = find_structure(structure);
  if (!layout) return nullptr;
  const auto found = std::ranges::find(layout->fields, field, &StructureField::name);
  return found == layout->fields.end() ? nullptr : &*found;
}

}  // namespace glasshook::api
