#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <ranges>

#include "api/call.h"
#include "api/errno.h"
#include "api/format.h"
#include "api/scalars.h"
#include "api/structures.h"
#include "api/windows_values.h"
#include "base/text.h"

namespace glasshook::api {
namespace {

using capture::FieldKind;
using capture::FieldView;
using capture::RecordView;

constexpr std::size_t kShownBytes = 64;      ///< of a buffer, in text
constexpr std::size_t kShownStrings = 32;    ///< of a string array, in text
constexpr std::size_t kMaxFieldText = 1024;  ///< of a text in a structure or the registry

/// Decodes one call. Holds references for the time of decode_call only.
class Decoder : private Pointees {
 public:
  Decoder(const Vocabulary& vocabulary, const Signature& signature, const RecordView* entry,
          const RecordView* exit)
      : vocabulary_(vocabulary),
        signature_(signature),
        entry_(entry),
        exit_(exit),
        nested_(nested_data(vocabulary, signature)) {}

  ApiCall decode();

 private:
  void decode_result();
  void judge_result(std::uint64_t error);
  void show_failure(Shown& shown) const;
  void set_error(std::uint64_t number);
  void name_error(std::string_view set);
  void decode_arguments();
  ArgumentValue argument(std::size_t index, const FieldView* words);
  void decode_pointed(std::size_t index, ArgumentValue& argument);
  void show_data(std::size_t index, const FieldView& field, ArgumentValue& argument);
  void show_kernel_object(std::size_t index, const FieldView& field, ArgumentValue& argument);
  void show_structure(std::size_t index, ArgumentValue& argument);
  void show_registry_data(const Type& type, ArgumentValue& argument);
  [[nodiscard]] std::string show(int parent, std::uint32_t offset) const override;
  [[nodiscard]] const FieldView* nested_field(std::size_t entry) const;
  [[nodiscard]] const FieldView* field_of(std::size_t parameter, std::uint16_t id) const;
  [[nodiscard]] std::optional<std::uint64_t> number_behind(std::size_t parameter,
                                                           std::uint32_t offset,
                                                           std::uint8_t size) const;
  [[nodiscard]] std::optional<std::uint64_t> expected_bytes(std::size_t index) const;
  [[nodiscard]] bool is_relevant(const Parameter& parameter) const;
  void note(const RecordView* record, std::string_view which);

  const Vocabulary& vocabulary_;
  const Signature& signature_;
  const RecordView* entry_;
  const RecordView* exit_;
  std::vector<NestedData> nested_;
  std::size_t shown_parameter_ = 0;  ///< whose structures are being shown
  ApiCall call_;
};

const FieldView* find_words(const RecordView* record, std::uint16_t id) {
  const FieldView* field = record ? record->find(id) : nullptr;
  return field && field->kind == FieldKind::words ? field : nullptr;
}

std::size_t word_count(const FieldView& field) { return field.data.size() / 8; }

/// Strings of a list field, each ended by a NUL (the last one maybe not).
std::vector<std::string> split_list(std::string_view bytes) {
  std::vector<std::string> strings;
  while (!bytes.empty()) {
    const std::size_t end = std::min(bytes.find('\0'), bytes.size());
    strings.emplace_back(bytes.substr(0, end));
    bytes.remove_prefix(std::min(end + 1, bytes.size()));
  }
  return strings;
}

/// A path from its components, leaf first. One whose top was not reached begins with `...`.
std::string path_of(const std::vector<std::string>& names, std::uint8_t detail) {
  const std::uint8_t status = detail & kListStatusMask;
  const bool has_top = status == kListComplete || status == kListUnreachable;
  std::string path = has_top ? "" : "...";
  for (const std::string& name : names | std::views::reverse) {
    if (name == "/") continue;  // what a file system calls its own root
    if (!path.empty() || (detail & kListUnattached) == 0) path += '/';
    path += name;
  }
  if (path.empty()) path = "/";
  if ((detail & kListDeleted) != 0) path += " (deleted)";
  return path;
}

std::string show_strings(const std::vector<std::string>& strings, bool cut) {
  std::string text = "[";
  for (std::size_t i = 0; i < strings.size() && i < kShownStrings; ++i)
    text += (i > 0 ? ", " : "") + quote(strings[i]);
  if (cut || strings.size() > kShownStrings) text += strings.empty() ? "..." : ", ...";
  return text + "]";
}

ApiCall Decoder::decode() {
  call_.signature = &signature_;
  note(entry_, "entry");
  note(exit_, "return");
  decode_result();
  decode_arguments();
  return std::move(call_);
}

void Decoder::note(const RecordView* record, std::string_view which) {
  if (!record) return;
  const std::uint8_t flags = record->header().flags;
  if (flags & capture::kRecordTruncated)
    call_.incomplete.push_back(fmt::format("the {} record was full", which));
  if (flags & capture::kRecordBudget)
    call_.incomplete.push_back(fmt::format("the capture at {} used up its budget", which));
}

void Decoder::decode_result() {
  if (!exit_) {
    if (signature_.returns) call_.incomplete.emplace_back("the return was not seen");
    return;
  }
  const FieldView* words = find_words(exit_, kResultField);
  if (!words || word_count(*words) < 1) {
    call_.incomplete.emplace_back("the return record lacks the result");
    return;
  }
  call_.returned = true;
  call_.result = narrow(signature_.result, words->word(0));
  Shown shown = show_scalar(vocabulary_, signature_.result, call_.result);
  judge_result(word_count(*words) > 1 ? words->word(1) : kUnknownErrno);
  if (call_.failed) show_failure(shown);
  call_.result_text = std::move(shown.text);
  call_.result_value = std::move(shown.value);
}

/// Failed results whose number says more than their type's way to show it.
void Decoder::show_failure(Shown& shown) const {
  switch (signature_.convention) {
    case ResultConvention::errno_if_minus_one:
      if (signature_.result.kind == TypeKind::pointer)
        shown = {"-1", std::int64_t{-1}};  // MAP_FAILED
      break;
    case ResultConvention::last_error_if_minus_one:
      if (signature_.result.kind == TypeKind::handle)
        shown = {"INVALID_HANDLE_VALUE", std::int64_t{-1}};
      break;
    case ResultConvention::ntstatus:
    case ResultConvention::hresult:  // the name follows
      shown = {fmt::format("{:#x}", static_cast<std::uint32_t>(call_.result)), call_.result};
      break;
    case ResultConvention::win32_error:
      shown = {std::to_string(call_.result), call_.result};
      break;
    default:
      break;
  }
}

void Decoder::judge_result(std::uint64_t error) {
  const std::uint64_t result = call_.result;
  const std::uint64_t negative = 0 - result;
  switch (signature_.convention) {
    case ResultConvention::plain:
      return;
    case ResultConvention::errno_if_minus_one:
    case ResultConvention::last_error_if_minus_one:
      call_.failed = result == narrow(signature_.result, ~std::uint64_t{0});
      break;
    case ResultConvention::errno_if_null:
    case ResultConvention::last_error_if_null:
      call_.failed = result == 0;
      break;
    case ResultConvention::errno_if_negative:
    case ResultConvention::error_pointer:
      call_.failed = negative >= 1 && negative <= kMaxErrno;
      error = negative;
      break;
    case ResultConvention::errno_returned:
      call_.failed = result != 0;
      error = result;
      break;
    case ResultConvention::win32_error:
      call_.failed = result != 0;
      error = result;
      break;
    case ResultConvention::ntstatus:
    case ResultConvention::hresult:
      call_.failed = static_cast<std::int32_t>(result) < 0;
      error = static_cast<std::uint32_t>(result);
      break;
    case ResultConvention::null_fails:
      call_.failed = result == 0;
      return;
    case ResultConvention::nonzero_fails:
      call_.failed = result != 0;
      return;
  }
  if (call_.failed) set_error(error);
}

void Decoder::set_error(std::uint64_t number) {
  if (number == kUnknownErrno) {
    const bool on_windows = signature_.convention == ResultConvention::last_error_if_minus_one ||
                            signature_.convention == ResultConvention::last_error_if_null;
    call_.incomplete.emplace_back(on_windows ? "the last error was not read"
                                             : "errno was not read");
    return;
  }
  call_.error = static_cast<std::uint32_t>(number);
  switch (signature_.convention) {
    case ResultConvention::ntstatus:
      return name_error("ntstatus_names");
    case ResultConvention::hresult:
      return name_error("hresult_names");
    case ResultConvention::last_error_if_minus_one:
    case ResultConvention::last_error_if_null:
    case ResultConvention::win32_error:
      return name_error("win32_error_names");
    default:
      break;
  }
  call_.error_name = errno_name(call_.error);
  call_.error_message = errno_message(call_.error);
  if (call_.error_name.empty()) call_.error_name = fmt::format("errno {}", call_.error);
}

void Decoder::name_error(std::string_view set) {
  constexpr std::uint32_t kFromWin32 = 0x80070000;  // HRESULT_FROM_WIN32, winerror.h
  const ValueSet* names = vocabulary_.find_set(set);
  const ValueSet* win32 = vocabulary_.find_set("win32_error_names");
  if (names) call_.error_name = enumerator(*names, call_.error);
  if (!call_.error_name.empty()) return;
  if (names != win32 && win32 && (call_.error & 0xffff0000) == kFromWin32)
    call_.error_name = enumerator(*win32, call_.error & 0xffff);
  if (call_.error_name.empty())
    call_.error_name = call_.error >> 16 ? fmt::format("{:#x}", call_.error)
                                         : fmt::format("error {}", call_.error);
}

void Decoder::decode_arguments() {
  const FieldView* words = find_words(entry_, kArgumentsField);
  const std::size_t known = words ? word_count(*words) : 0;
  if (!entry_)
    call_.incomplete.emplace_back("the entry was not seen");
  else if (known < signature_.parameters.size())
    call_.incomplete.push_back(
        fmt::format("only {} of {} arguments were captured", known, signature_.parameters.size()));
  call_.arguments.reserve(signature_.parameters.size());
  // Conditions look at the raw values of earlier arguments, so these come first.
  for (std::size_t i = 0; i < signature_.parameters.size(); ++i)
    call_.arguments.push_back(argument(i, i < known ? words : nullptr));
  for (std::size_t i = 0; i < signature_.parameters.size(); ++i)
    if (is_followed(signature_.parameters[i].type.kind)) decode_pointed(i, call_.arguments[i]);
}

ArgumentValue Decoder::argument(std::size_t index, const FieldView* words) {
  const Parameter& parameter = signature_.parameters[index];
  ArgumentValue argument;
  argument.name = parameter.name;
  argument.relevant = is_relevant(parameter);
  if (!words) {
    argument.text = "?";
    argument.value = std::string("?");
    return argument;
  }
  argument.raw = words->word(index);
  Shown shown = show_scalar(vocabulary_, parameter.type, argument.raw);
  argument.text = std::move(shown.text);
  argument.value = std::move(shown.value);
  return argument;
}

bool Decoder::is_relevant(const Parameter& parameter) const {
  if (parameter.only_if.parameter.empty()) return true;
  for (std::size_t i = 0; i < call_.arguments.size(); ++i) {
    const Parameter& other = signature_.parameters[i];
    if (other.name != parameter.only_if.parameter) continue;
    const ValueSet* set = vocabulary_.find_set(other.type.name);
    if (!set) continue;
    const std::uint64_t value = narrow(other.type, call_.arguments[i].raw);
    return std::ranges::any_of(set->values, [&](const NamedValue& named) {
      return (value & named.mask) == named.value &&
             std::ranges::find(parameter.only_if.names, named.name) !=
                 parameter.only_if.names.end();
    });
  }
  return true;
}

/// The record that has the data as the direction wants it: an `in` string that was not paged in at
/// entry was read again at return.
const FieldView* Decoder::field_of(std::size_t parameter, std::uint16_t id) const {
  const FieldView* before = entry_ ? entry_->find(id) : nullptr;
  const FieldView* after = exit_ ? exit_->find(id) : nullptr;
  if (signature_.parameters[parameter].direction == Direction::in) std::swap(before, after);
  if (after && !after->faulted()) return after;
  return before && !before->faulted() ? before : (after ? after : before);
}

void Decoder::decode_pointed(std::size_t index, ArgumentValue& argument) {
  const Parameter& parameter = signature_.parameters[index];
  if (index >= kMaxParameters || (entry_ && argument.raw == 0)) return;
  if (parameter.direction == Direction::out && (call_.failed || !call_.returned)) return;
  const FieldView* field = field_of(index, static_cast<std::uint16_t>(kPointedField + index));
  if (!field) return;
  argument.faulted = field->faulted();
  if (argument.faulted) return;
  argument.captured = true;
  argument.truncated = field->truncated();
  show_data(index, *field, argument);
}

/// An integer in the structure that a parameter points to.
std::optional<std::uint64_t> Decoder::number_behind(std::size_t parameter, std::uint32_t offset,
                                                    std::uint8_t size) const {
  const FieldView* field =
      field_of(parameter, static_cast<std::uint16_t>(kPointedField + parameter));
  if (!field || field->faulted() || field->data.size() < std::size_t{offset} + size)
    return std::nullopt;
  std::uint64_t value = 0;
  std::memcpy(&value, field->data.data() + offset, std::min<std::size_t>(size, sizeof value));
  return value;
}

/// How many bytes the callee was given or gave back; empty when it cannot be known.
std::optional<std::uint64_t> Decoder::expected_bytes(std::size_t index) const {
  const PointedData data = pointed_data(vocabulary_, signature_, index);
  const auto value_of = [&](int parameter) {
    const auto i = static_cast<std::size_t>(parameter);
    return narrow(signature_.parameters[i].type, call_.arguments[i].raw);
  };
  const bool needs_arguments = data.count_parameter >= 0 || data.factor_parameter >= 0;
  if (needs_arguments && !find_words(entry_, kArgumentsField)) return std::nullopt;
  std::uint64_t bytes = data.count;
  if (data.count_is_result)
    bytes = static_cast<std::int64_t>(call_.result) > 0 ? call_.result : 0;
  else if (data.count_size != 0) {
    const auto count = number_behind(static_cast<std::size_t>(data.count_parameter),
                                     data.count_offset, data.count_size);
    if (!count) return std::nullopt;
    bytes = *count;
  } else if (data.count_parameter >= 0)
    bytes = value_of(data.count_parameter);
  if (__builtin_mul_overflow(bytes, data.element_size, &bytes)) return std::nullopt;
  if (data.factor_parameter >= 0 &&
      __builtin_mul_overflow(bytes, value_of(data.factor_parameter), &bytes))
    return std::nullopt;
  return bytes;
}

void Decoder::show_data(std::size_t index, const FieldView& field, ArgumentValue& argument) {
  const Type& type = signature_.parameters[index].type;
  argument.data = field.text();
  switch (type.kind) {
    case TypeKind::string:
    case TypeKind::path:
    case TypeKind::utf16:
      if (type.kind == TypeKind::utf16) argument.data = utf8_of_utf16(field.data);
      argument.text = quote(argument.data, argument.truncated);
      argument.value = argument.data;
      return;
    case TypeKind::string_array:
      argument.list = split_list(argument.data);
      argument.data.clear();
      argument.truncated |= (field.detail & kListStatusMask) != kListComplete;
      argument.text = show_strings(argument.list, argument.truncated);
      argument.value = argument.list;
      return;
    case TypeKind::buffer:
    case TypeKind::structure:
    case TypeKind::registry_data:
    case TypeKind::registry_data_ansi:
      break;
    default:
      return show_kernel_object(index, field, argument);
  }
  if (const std::optional<std::uint64_t> expected = expected_bytes(index)) {
    argument.truncated |= argument.data.size() < *expected;
    if (argument.data.size() > *expected) argument.data.resize(*expected);
  }
  if (type.kind == TypeKind::buffer) {
    const std::string_view shown = std::string_view(argument.data).substr(0, kShownBytes);
    argument.text = quote(shown, argument.truncated || shown.size() < argument.data.size());
    argument.value = argument.data;
  } else if (type.kind == TypeKind::structure) {
    show_structure(index, argument);
  } else {
    show_registry_data(type, argument);
  }
}

void Decoder::show_structure(std::size_t index, ArgumentValue& argument) {
  const StructureLayout* layout =
      vocabulary_.find_structure(signature_.parameters[index].type.name);
  if (!layout) return;
  shown_parameter_ = index;
  argument.text = show_structures(vocabulary_, *layout, std::as_bytes(std::span(argument.data)),
                                  {.pointees = this});
  argument.value = argument.text;
  for (std::size_t i = 0; i < nested_.size(); ++i) {
    if (nested_[i].parameter != index) continue;
    const FieldView* field = nested_field(i);
    if (!field || field->faulted()) continue;
    NestedValue value{nested_[i].path,
                      nested_[i].type->kind == TypeKind::utf16 ? utf8_of_utf16(field->data)
                                                               : std::string(field->text()),
                      field->truncated()};
    if (value.path.empty() && nested_[i].type->kind != TypeKind::structure)
      argument.value = value.data;
    argument.nested.push_back(std::move(value));
  }
}

const FieldView* Decoder::nested_field(std::size_t entry) const {
  return field_of(nested_[entry].parameter, static_cast<std::uint16_t>(kNestedField + entry));
}

std::string Decoder::show(int parent, std::uint32_t offset) const {
  for (std::size_t i = 0; i < nested_.size(); ++i) {
    const NestedData& nested = nested_[i];
    if (nested.parameter != shown_parameter_ || nested.parent != parent || nested.offset != offset)
      continue;
    const FieldView* field = nested_field(i);
    if (!field || field->faulted()) return {};
    if (nested.type->kind == TypeKind::utf16)
      return quote(utf8_of_utf16(field->data), field->truncated());
    if (nested.type->kind != TypeKind::structure) {
      const std::size_t most = nested.type->kind == TypeKind::buffer ? kShownBytes : kMaxFieldText;
      const std::string_view text = field->text().substr(0, most);
      return quote(text, field->truncated() || text.size() < field->text().size());
    }
    const StructureLayout* layout = vocabulary_.find_structure(nested.type->name);
    if (!layout) return {};
    return show_structures(vocabulary_, *layout, field->data,
                           {.pointees = this, .parent = static_cast<int>(i)});
  }
  return {};
}

/// A registry value by its type (winnt.h): text as text, numbers as numbers.
void Decoder::show_registry_data(const Type& type, ArgumentValue& argument) {
  constexpr std::uint64_t kText = 1, kExpandedText = 2, kNumber = 4, kTexts = 7, kLongNumber = 11;
  const bool behind = type.name.starts_with('*');
  const std::string_view name = std::string_view(type.name).substr(behind ? 1 : 0);
  const auto parameter = std::ranges::find(signature_.parameters, name, &Parameter::name);
  const auto index = static_cast<std::size_t>(parameter - signature_.parameters.begin());
  std::optional<std::uint64_t> kind;
  if (behind)
    kind = number_behind(index, 0, 4);
  else if (index < call_.arguments.size())
    kind = narrow(parameter->type, call_.arguments[index].raw);

  const auto bytes = std::as_bytes(std::span(argument.data));
  std::string data = argument.data;
  if (kind == kText || kind == kExpandedText || kind == kTexts) {
    if (type.kind == TypeKind::registry_data) data = utf8_of_utf16(bytes);
    while (data.ends_with('\0')) data.pop_back();
    if (kind == kTexts) {
      argument.list = split_list(data);
      argument.text = show_strings(argument.list, argument.truncated);
      argument.value = argument.list;
      return;
    }
  } else if ((kind == kNumber && bytes.size() == 4) || (kind == kLongNumber && bytes.size() == 8)) {
    std::uint64_t number = 0;
    std::memcpy(&number, bytes.data(), bytes.size());
    argument.text = fmt::format("{:#x}", number);
    argument.value = number;
    return;
  }
  const std::string_view shown = std::string_view(data).substr(0, kMaxFieldText);
  argument.text = quote(shown, argument.truncated || shown.size() < data.size());
  argument.value = std::move(data);
}

/// Kernel objects: a list of path components (leaf first), a name, or a task's tid and comm.
void Decoder::show_kernel_object(std::size_t index, const FieldView& field,
                                 ArgumentValue& argument) {
  const TypeKind kind = signature_.parameters[index].type.kind;
  if (kind == TypeKind::kernel_task) {
    const RecordView* record = entry_ && entry_->find(field.id) == &field ? entry_ : exit_;
    const FieldView* comm = record->find(static_cast<std::uint16_t>(kSecondField + index));
    argument.data = comm ? std::string(comm->text()) : std::string();
    argument.text = fmt::format("{} {}", field.word(0), quote(argument.data));
    argument.value = argument.text;
    return;
  }
  if (field.kind == FieldKind::list) {
    argument.list = split_list(field.text());
    argument.data = path_of(argument.list, field.detail);
    const std::uint8_t status = field.detail & kListStatusMask;
    argument.truncated |= status != kListComplete && status != kListUnreachable;
  }
  argument.text = quote(argument.data, argument.truncated);
  argument.value = argument.data;
}

}  // namespace

ApiCall decode_call(const Vocabulary& vocabulary, const Signature& signature,
                    const RecordView* entry, const RecordView* exit) {
  return Decoder(vocabulary, signature, entry, exit).decode();
}

std::string to_text(const ApiCall& call) {
  std::string text = call.signature->name + "(";
  bool first = true;
  for (const ArgumentValue& argument : call.arguments) {
    if (!argument.relevant) continue;
    text += (first ? "" : ", ") + argument.text;
    first = false;
  }
  if (call.signature->variadic) text += first ? "..." : ", ...";
  text += ")";
  if (!call.signature->returns) return text;
  if (call.returned && call.signature->result.kind == TypeKind::nothing) return text;
  text += " = " + call.result_text;
  if (!call.error_name.empty()) text += " " + call.error_name;
  if (!call.error_message.empty()) text += " (" + call.error_message + ")";
  return text;
}

}  // namespace glasshook::api
