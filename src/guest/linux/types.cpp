#include "guest/linux/types.h"

#include <bpf/btf.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <ranges>
#include <utility>

#include "guest/linux/btf_check.h"

namespace glasshook::linux_guest {
namespace {

/// Longer names are cut. The kernel's own limit for symbols is 512 (KSYM_NAME_LEN).
constexpr std::size_t kMaxName = 512;
/// Steps along typedefs, modifiers and arrays; check_btf() refuses longer chains.
constexpr int kMaxChain = 64;
/// Members looked at in one search through anonymous structs; struct task_struct has some 300.
constexpr int kMaxMembers = 65536;
constexpr int kMaxNesting = 16;

struct BtfDeleter {
  void operator()(btf* parsed) const { btf__free(parsed); }
};
using BtfPointer = std::unique_ptr<btf, BtfDeleter>;

/// Values by name. Sorted, not hashed: the names are the guest's and could be made to collide.
template <class Value>
class NameTable {
 public:
  void add(std::string_view name, Value value) {
    if (!name.empty()) entries_.emplace_back(name, value);
  }
  /// Makes find() work. Of entries with one name the first stays, by `rank` and then as added.
  template <class Rank>
  void sort(Rank&& rank) {
    std::ranges::stable_sort(entries_, [&](const Entry& a, const Entry& b) {
      return a.first != b.first ? a.first < b.first : rank(a.second) < rank(b.second);
    });
    const auto rest = std::ranges::unique(entries_, {}, &Entry::first);
    entries_.erase(rest.begin(), rest.end());
  }
  void sort() {
    sort([](const Value&) { return 0; });
  }
  [[nodiscard]] std::optional<Value> find(std::string_view name) const {
    const auto at = std::ranges::lower_bound(entries_, name, {}, &Entry::first);
    if (at == entries_.end() || at->first != name) return std::nullopt;
    return at->second;
  }

 private:
  using Entry = std::pair<std::string_view, Value>;
  std::vector<Entry> entries_;
};

}  // namespace

/// The parsed blob (libbpf keeps its own copy and only reads it) and its names.
class KernelTypes::Index {
 public:
  explicit Index(BtfPointer parsed) : btf_(std::move(parsed)) {
    for (std::uint32_t id = 1; id < count(); ++id) add_names({id});
    structs.sort([this](TypeId id) { return ~type(id)->size; });  // the largest
    typedefs.sort();
    functions.sort();
    enumerators.sort();
  }

  /// One more than the largest id.
  [[nodiscard]] std::uint32_t count() const { return btf__type_cnt(btf_.get()); }
  /// Never null: void stands in for an id that does not exist.
  [[nodiscard]] const btf_type* type(TypeId id) const {
    return btf__type_by_id(btf_.get(), id.value < count() ? id.value : 0);
  }
  [[nodiscard]] std::string_view name(std::uint32_t offset) const {
    const char* text = btf__name_by_offset(btf_.get(), offset);
    return text == nullptr ? std::string_view{} : std::string_view{text, strnlen(text, kMaxName)};
  }

  NameTable<TypeId> structs;
  NameTable<TypeId> typedefs;
  NameTable<TypeId> functions;
  NameTable<std::int64_t> enumerators;

 private:
  void add_names(TypeId id) {
    const btf_type* t = type(id);
    if (btf_is_composite(t)) {
      structs.add(name(t->name_off), id);
    } else if (btf_is_typedef(t)) {
      typedefs.add(name(t->name_off), id);
    } else if (btf_is_func(t)) {
      functions.add(name(t->name_off), id);
    } else if (btf_is_enum(t)) {
      for (int i = 0; i < btf_vlen(t); ++i)
        enumerators.add(name(btf_enum(t)[i].name_off), btf_enum(t)[i].val);
    } else if (btf_is_enum64(t)) {
      for (int i = 0; i < btf_vlen(t); ++i)
        enumerators.add(name(btf_enum64(t)[i].name_off),
                        static_cast<std::int64_t>(btf_enum64_value(&btf_enum64(t)[i])));
    }
  }

  BtfPointer btf_;
};

namespace {

/// True for kinds that resolve() looks through.
bool is_transparent(const btf_type* t) { return btf_is_mod(t) || btf_is_typedef(t); }

/// The type of an unnamed member, which may be const (struct vm_fault).
template <class Index>
const btf_type* unnamed(const Index& index, const btf_member& member) {
  const btf_type* t = index.type({member.type});
  for (int i = 0; i < kMaxChain && is_transparent(t); ++i) t = index.type({t->type});
  return t;
}

/// Finds a member by name through anonymous members, depth first and with a budget: a hostile
/// type can hold itself or fan out without end.
template <class Index>
class MemberSearch {
 public:
  MemberSearch(const Index& index, std::string_view name) : index_(index), name_(name) {}

  std::optional<Member> in(const btf_type* structure, std::uint32_t base, int nesting) {
    if (nesting > kMaxNesting || !btf_is_composite(structure)) return std::nullopt;
    for (int i = 0; i < btf_vlen(structure); ++i) {
      if (--budget_ < 0) return std::nullopt;
      const btf_member& member = btf_members(structure)[i];
      const std::uint32_t at = base + btf_member_bit_offset(structure, i);
      const std::string_view name = index_.name(member.name_off);
      if (name == name_)
        return Member{.type = {member.type},
                      .bit_offset = at,
                      .bit_size = btf_member_bitfield_size(structure, i)};
      if (!name.empty()) continue;
      if (auto found = in(unnamed(index_, member), at, nesting + 1)) return found;
    }
    return std::nullopt;
  }

 private:
  const Index& index_;
  std::string_view name_;
  int budget_ = kMaxMembers;
};

/// The names a MemberSearch could find, with a budget for the same reason.
template <class Index>
void collect_names(const Index& index, const btf_type* structure, int nesting, int& budget,
                   std::vector<std::string>& names) {
  if (nesting > kMaxNesting || !btf_is_composite(structure)) return;
  for (int i = 0; i < btf_vlen(structure) && --budget >= 0; ++i) {
    const btf_member& member = btf_members(structure)[i];
    const std::string_view name = index.name(member.name_off);
    if (name.empty())
      collect_names(index, unnamed(index, member), nesting + 1, budget, names);
    else
      names.emplace_back(name);
  }
}

const char* qualifier(const btf_type* t) {
  return btf_is_const(t) ? "const " : btf_is_volatile(t) ? "volatile " : "restrict ";
}

const char* keyword(const btf_type* t) {
  if (btf_is_struct(t) || (btf_is_fwd(t) && !btf_kflag(t))) return "struct ";
  if (btf_is_union(t) || btf_is_fwd(t)) return "union ";
  return btf_is_enum(t) || btf_is_enum64(t) ? "enum " : "";
}

template <class Index>
std::string_view base_name(const Index& index, TypeId type) {
  const btf_type* t = index.type(type);
  if (btf_is_void(t)) return "void";
  return t->name_off == 0 ? "{...}" : index.name(t->name_off);
}

}  // namespace

Result<KernelTypes> KernelTypes::parse(std::span<const std::byte> blob) {
  if (auto ok = check_btf(blob); !ok) return std::unexpected(ok.error());
  btf* parsed = btf__new(blob.data(), static_cast<std::uint32_t>(blob.size()));
  if (parsed == nullptr)
    return fail(ErrorCode::guest_fault, "libbpf refuses the kernel's BTF: {}",
                std::strerror(errno));
  return KernelTypes{std::make_unique<Index>(BtfPointer{parsed})};
}

KernelTypes::KernelTypes(std::unique_ptr<Index> index) : index_(std::move(index)) {}
KernelTypes::KernelTypes(KernelTypes&&) noexcept = default;
KernelTypes& KernelTypes::operator=(KernelTypes&&) noexcept = default;
KernelTypes::~KernelTypes() = default;

std::size_t KernelTypes::type_count() const { return index_->count(); }

std::optional<TypeId> KernelTypes::find_struct(std::string_view name) const {
  return index_->structs.find(name);
}

std::optional<TypeId> KernelTypes::find_typedef(std::string_view name) const {
  return index_->typedefs.find(name);
}

std::optional<Prototype> KernelTypes::find_function(std::string_view name) const {
  const auto id = index_->functions.find(name);
  if (!id) return std::nullopt;
  const btf_type* proto = index_->type({index_->type(*id)->type});
  Prototype result{.parameters = {}, .result = {proto->type}};
  for (int i = 0; i < btf_vlen(proto); ++i) {
    const btf_param& parameter = btf_params(proto)[i];
    result.parameters.push_back(
        {.name = std::string{index_->name(parameter.name_off)}, .type = {parameter.type}});
  }
  return result;
}

std::optional<std::int64_t> KernelTypes::find_enumerator(std::string_view name) const {
  return index_->enumerators.find(name);
}

std::optional<Member> KernelTypes::member(TypeId structure, std::string_view name) const {
  if (name.empty()) return std::nullopt;
  return MemberSearch{*index_, name}.in(index_->type(resolve(structure)), 0, 0);
}

std::vector<std::string> KernelTypes::member_names(TypeId structure) const {
  std::vector<std::string> names;
  int budget = 4096;
  collect_names(*index_, index_->type(resolve(structure)), 0, budget, names);
  return names;
}

Result<std::uint32_t> KernelTypes::offset(std::string_view structure,
                                          std::string_view member_path) const {
  const auto found = find_struct(structure);
  if (!found) return fail(ErrorCode::not_found, "the kernel has no struct {}", structure);
  if (member_path.empty()) return fail(ErrorCode::invalid_argument, "no member is named");
  TypeId type = *found;
  std::uint32_t offset = 0;
  for (const auto part : std::views::split(member_path, '.')) {
    const std::string_view name{part.begin(), part.end()};
    const auto next = member(type, name);
    if (!next)
      return fail(ErrorCode::not_found, "struct {} has no member {} (at {})", structure,
                  member_path, name);
    offset += next->offset();
    type = next->type;
  }
  return offset;
}

TypeId KernelTypes::resolve(TypeId type) const {
  for (int step = 0; step < kMaxChain && is_transparent(index_->type(type)); ++step)
    type = {index_->type(type)->type};
  return type;
}

std::optional<TypeId> KernelTypes::pointee(TypeId type) const {
  const btf_type* t = index_->type(resolve(type));
  return btf_is_ptr(t) ? std::optional{TypeId{t->type}} : std::nullopt;
}

std::optional<TypeId> KernelTypes::array_element(TypeId type) const {
  const btf_type* t = index_->type(resolve(type));
  return btf_is_array(t) ? std::optional{TypeId{btf_array(t)->type}} : std::nullopt;
}

std::uint32_t KernelTypes::array_length(TypeId type) const {
  const btf_type* t = index_->type(resolve(type));
  return btf_is_array(t) ? btf_array(t)->nelems : 0;
}

bool KernelTypes::is_struct(TypeId type) const {
  return btf_is_composite(index_->type(resolve(type)));
}

bool KernelTypes::is_signed_integer(TypeId type) const {
  const btf_type* t = index_->type(resolve(type));
  if (btf_is_int(t)) return (btf_int_encoding(t) & BTF_INT_SIGNED) != 0;
  return (btf_is_enum(t) || btf_is_enum64(t)) && btf_kflag(t);
}

bool KernelTypes::is_char_pointer(TypeId type) const {
  const auto target = pointee(type);
  if (!target) return false;
  const btf_type* t = index_->type(resolve(*target));
  return btf_is_int(t) && t->size == 1 && index_->name(t->name_off) == "char";
}

std::uint64_t KernelTypes::size(TypeId type) const {
  std::uint64_t count = 1;
  for (int step = 0; step < kMaxChain; ++step) {
    type = resolve(type);
    const btf_type* t = index_->type(type);
    if (btf_is_ptr(t)) return count * sizeof(std::uint64_t);
    if (btf_is_int(t) || btf_is_composite(t) || btf_is_enum(t) || btf_is_enum64(t) ||
        btf_is_float(t))
      return count * t->size;
    if (!btf_is_array(t)) return 0;
    count *= btf_array(t)->nelems;
    if (count > std::numeric_limits<std::uint32_t>::max()) return 0;  // no such object in memory
    type = {btf_array(t)->type};
  }
  return 0;
}

std::string KernelTypes::spelling(TypeId type) const {
  std::string qualifiers, declarator;  // as in `const` char `*const[4]`
  for (int step = 0; step < kMaxChain; ++step) {
    const btf_type* t = index_->type(type);
    const btf_type* next = index_->type({t->type});
    switch (btf_kind(t)) {
      case BTF_KIND_PTR:
        declarator.insert(0, "*");
        if (btf_is_array(next) || btf_is_func_proto(next))
          declarator = fmt::format("({})", declarator);
        break;
      case BTF_KIND_CONST:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_RESTRICT: {
        const char* word = qualifier(t);
        btf_is_ptr(next) ? declarator.insert(0, word) : qualifiers.insert(0, word);
        break;
      }
      case BTF_KIND_TYPE_TAG:
        break;
      case BTF_KIND_ARRAY:
        declarator += fmt::format("[{}]", btf_array(t)->nelems);
        type = {btf_array(t)->type};
        continue;
      case BTF_KIND_FUNC_PROTO:
        declarator += "()";
        break;
      default:
        return fmt::format("{}{}{}{}{}", qualifiers, keyword(t), base_name(*index_, type),
                           declarator.empty() ? "" : " ", declarator);
    }
    type = {t->type};
  }
  return "?";
}

}  // namespace glasshook::linux_guest
