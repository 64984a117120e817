#include "apigen/type_reader.h"

namespace glasshook::apigen {
namespace {

std::string usr(CXType type) {
  return text(clang_getCursorUSR(clang_getTypeDeclaration(clang_getCanonicalType(type))));
}

std::uint32_t byte_size(CXType type) {
  const long long size = clang_Type_getSizeOf(type);
  return size > 0 ? static_cast<std::uint32_t>(size) : 0;
}

bool is_signed_kind(CXTypeKind kind) { return kind >= CXType_Char_S && kind <= CXType_Int128; }

HeaderType::Kind kind_of(CXTypeKind kind) {
  using Kind = HeaderType::Kind;
  if (kind == CXType_Void) return Kind::nothing;
  if (kind >= CXType_Bool && kind <= CXType_Int128) return Kind::integer;
  if (kind == CXType_Float || kind == CXType_Double || kind == CXType_LongDouble)
    return Kind::floating;
  if (kind == CXType_Pointer || kind == CXType_BlockPointer) return Kind::pointer;
  if (kind == CXType_Record) return Kind::record;
  if (kind == CXType_Enum) return Kind::enumeration;
  if (kind == CXType_FunctionProto || kind == CXType_FunctionNoProto) return Kind::function;
  if (kind == CXType_ConstantArray || kind == CXType_IncompleteArray) return Kind::array;
  return Kind::other;
}

}  // namespace

void TypeReader::note_typedef(CXCursor declaration) {
  const CXType type = clang_getTypedefDeclUnderlyingType(declaration);
  const CXTypeKind kind = clang_getCanonicalType(type).kind;
  if (kind == CXType_Record || kind == CXType_Enum)
    typedefs_.emplace(usr(type), spelling(declaration));
}

std::string TypeReader::tag_of(CXType type) const {
  const auto named = typedefs_.find(usr(type));
  if (named != typedefs_.end()) return named->second;
  const CXCursor declaration = clang_getTypeDeclaration(type);
  return clang_Cursor_isAnonymous(declaration) ? std::string() : spelling(declaration);
}

HeaderType TypeReader::read(CXType type) {
  HeaderType made;
  while (true) {
    made.is_const |= clang_isConstQualifiedType(type) != 0;
    if (type.kind == CXType_Elaborated) {
      type = clang_Type_getNamedType(type);
    } else if (type.kind == CXType_Attributed) {
      type = clang_Type_getModifiedType(type);
    } else if (type.kind == CXType_Typedef) {
      made.names.push_back(text(clang_getTypedefName(type)));
      type = clang_getTypedefDeclUnderlyingType(clang_getTypeDeclaration(type));
    } else if (type.kind == CXType_Unexposed && clang_getCanonicalType(type).kind != type.kind) {
      type = clang_getCanonicalType(type);
    } else {
      break;
    }
  }
  made.kind = kind_of(type.kind);
  made.size = byte_size(type);
  made.is_signed = is_signed_kind(type.kind);
  if (made.kind == HeaderType::Kind::pointer) {
    made.target = std::make_shared<HeaderType>(read(clang_getPointeeType(type)));
  } else if (made.kind == HeaderType::Kind::array) {
    made.target = std::make_shared<HeaderType>(read(clang_getArrayElementType(type)));
    made.count = static_cast<std::uint64_t>(std::max(0LL, clang_getArraySize(type)));
  } else if (made.kind == HeaderType::Kind::record) {
    made.tag = tag_of(type);
    if (!made.tag.empty()) read_record(type, made.tag);
  } else if (made.kind == HeaderType::Kind::enumeration) {
    made.tag = tag_of(type);
    made.is_signed = false;
    if (!made.tag.empty()) read_enumeration(type, made.tag);
  }
  return made;
}

void TypeReader::read_record(CXType type, const std::string& tag) {
  const auto [known, added] = declarations_.records.try_emplace(tag);
  if (!added && (known->second.size != 0 || byte_size(type) == 0)) return;
  HeaderRecord record{.size = byte_size(type), .fields = {}};
  if (record.size == 0) return;
  known->second.size = record.size;  // ends the recursion of structures that point to themselves
  read_fields(type, 0, record);
  declarations_.records.find(tag)->second = std::move(record);
}

/// Fields of nameless structures and unions count as fields of the outer one.
void TypeReader::read_fields(CXType type, std::uint32_t base, HeaderRecord& record) {
  const bool is_union = clang_getTypeDeclaration(type).kind == CXCursor_UnionDecl;
  bool first = true;
  for_each_field(type, [&](CXCursor field) {
    if ((is_union && !first) || clang_Cursor_isBitField(field)) return;
    first = false;
    const long long bits = clang_Cursor_getOffsetOfField(field);
    if (bits < 0 || bits % 8 != 0) return;
    const std::uint32_t offset = base + static_cast<std::uint32_t>(bits / 8);
    HeaderType made = read(clang_getCursorType(field));
    if (made.kind == HeaderType::Kind::record && made.tag.empty())
      return read_fields(clang_getCanonicalType(clang_getCursorType(field)), offset, record);
    record.fields.push_back({spelling(field), offset, std::move(made)});
  });
}

void TypeReader::read_enumeration(CXType type, const std::string& tag) {
  const auto [known, added] = declarations_.enumerations.try_emplace(tag);
  if (!added && !known->second.empty()) return;
  for_each_child(clang_getTypeDeclaration(type), [&](CXCursor child) {
    if (child.kind == CXCursor_EnumConstantDecl)
      known->second.push_back({spelling(child), clang_getEnumConstantDeclValue(child)});
  });
}

}  // namespace glasshook::apigen
