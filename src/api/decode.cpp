#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <ranges>

#include "api/call.h"
#include "api/errno.h"
#include "api/format.h"
#include "api/scalars.h"
#include "api/structures.h"
#include "base/text.h"

namespace glasshook::api {
namespace {

using capture::FieldKind;
using capture::FieldView;
using capture::RecordView;

constexpr std::size_t kShownBytes = 64;    ///< of a buffer, in text
constexpr std::size_t kShownStrings = 32;  ///< of a string array, in text

/// Decodes one call. Holds references for the time of decode_call only.
class Decoder {
 public:
  Decoder(const Vocabulary& vocabulary, const Signature& signature, const RecordView* entry,
          const RecordView* exit)
      : vocabulary_(vocabulary), signature_(signature), entry_(entry), exit_(exit) {}

  ApiCall decode();

 private:
  void decode_result();
  void judge_result(std::uint64_t error);
  void set_error(std::uint64_t number);
  void decode_arguments();
  ArgumentValue argument(std::size_t index, const FieldView* words);
  void decode_pointed(std::size_t index, ArgumentValue& argument);
  void show_data(std::size_t index, const FieldView& field, ArgumentValue& argument);
  void show_kernel_object(std::size_t index, const FieldView& field, ArgumentValue& argument);
  [[nodiscard]] const FieldView* pointed_field(std::size_t index) const;
  [[nodiscard]] std::optional<std::uint64_t> expected_bytes(std::size_t index) const;
  [[nodiscard]] bool is_relevant(const Parameter& parameter) const;
  void note(const RecordView* record, std::string_view which);

  const Vocabulary& vocabulary_;
  const Signature& signature_;
  const RecordView* entry_;
  const RecordView* exit_;
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

/// UTF-8 of UTF-16LE; lone surrogates become U+FFFD.
std::string utf8_of_utf16(std::string_view bytes) {
  const auto unit = [&](std::size_t i) -> std::uint32_t {
    return static_cast<std::uint8_t>(bytes[2 * i]) |
           static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[2 * i + 1])) << 8;
  };
  const auto append = [](std::string& out, std::uint32_t c) {
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else if (c < 0x800) {
      out += static_cast<char>(0xc0 | c >> 6);
    } else {
      if (c < 0x10000) {
        out += static_cast<char>(0xe0 | c >> 12);
      } else {
        out += static_cast<char>(0xf0 | c >> 18);
        out += static_cast<char>(0x80 | (c >> 12 & 0x3f));
      }
      out += static_cast<char>(0x80 | (c >> 6 & 0x3f));
    }
    if (c >= 0x80) out += static_cast<char>(0x80 | (c & 0x3f));
  };
  std::string out;
  const std::size_t units = bytes.size() / 2;
  for (std::size_t i = 0; i < units; ++i) {
    std::uint32_t c = unit(i);
    if (c >= 0xd800 && c < 0xe000) {
      const bool paired = c < 0xdc00 && i + 1 < units && (unit(i + 1) & 0xfc00) == 0xdc00;
      c = paired ? 0x10000 + ((c - 0xd800) << 10) + (unit(++i) - 0xdc00) : 0xfffd;
    }
    append(out, c);
  }
  return out;
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
  if (call_.failed && signature_.result.kind == TypeKind::pointer &&
      signature_.convention == ResultConvention::errno_if_minus_one)
    shown = {"-1", std::int64_t{-1}};  // MAP_FAILED
  call_.result_text = std::move(shown.text);
  call_.result_value = std::move(shown.value);
}

void Decoder::judge_result(std::uint64_t error) {
  const std::uint64_t result = call_.result;
  const std::uint64_t negative = 0 - result;
  switch (signature_.convention) {
    case ResultConvention::plain:
      return;
    case ResultConvention::errno_if_minus_one:
      call_.failed = result == narrow(signature_.result, ~std::uint64_t{0});
      break;
    case ResultConvention::errno_if_null:
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
    call_.incomplete.emplace_back("errno was not read");
    return;
  }
  call_.error = static_cast<std::uint32_t>(number);
  call_.error_name = errno_name(call_.error);
  call_.error_message = errno_message(call_.error);
  if (call_.error_name.empty()) call_.error_name = fmt::format("errno {}", call_.error);
}

void Decoder::decode_arguments() {
  const FieldView* words = find_words(entry_, kArgumentsField);
  const std::size_t known = words ? word_count(*words) : 0;
  if (!entry_)
    call_.incomplete.emplace_back("the entry was not seen");
  else if (known < signature_.parameters.size())
    call_.incomplete.push_back(
        fmt::format("only {} of {} arguments were captured", known, signature_.parameters.size()));
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
    const ValueSet* set = vocabulary_.find_set(other.type.name);
    if (other.name != parameter.only_if.parameter || !set) continue;
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
const FieldView* Decoder::pointed_field(std::size_t index) const {
  const auto id = static_cast<std::uint16_t>(kPointedField + index);
  const FieldView* before = entry_ ? entry_->find(id) : nullptr;
  const FieldView* after = exit_ ? exit_->find(id) : nullptr;
  if (signature_.parameters[index].direction == Direction::in) std::swap(before, after);
  if (after && !after->faulted()) return after;
  return before && !before->faulted() ? before : (after ? after : before);
}

void Decoder::decode_pointed(std::size_t index, ArgumentValue& argument) {
  const Parameter& parameter = signature_.parameters[index];
  if (index >= kMaxParameters || (entry_ && argument.raw == 0)) return;
  if (parameter.direction == Direction::out && (call_.failed || !call_.returned)) return;
  const FieldView* field = pointed_field(index);
  if (!field) return;
  argument.faulted = field->faulted();
  if (argument.faulted) return;
  argument.captured = true;
  argument.truncated = field->truncated();
  show_data(index, *field, argument);
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
  else if (data.count_parameter >= 0)
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
      argument.text = quote(argument.data, argument.truncated);
      argument.value = argument.data;
      return;
    case TypeKind::utf16:
      argument.data = utf8_of_utf16(argument.data);
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
  } else if (const StructureLayout* layout = vocabulary_.find_structure(type.name)) {
    argument.text = show_structures(vocabulary_, *layout, std::as_bytes(std::span(argument.data)));
    argument.value = argument.text;
  }
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

PointedData pointed_data(const Vocabulary& vocabulary, const Signature& signature,
                         std::size_t index) {
  using Kind = PointedData::Kind;
  PointedData data;
  if (index >= signature.parameters.size() || index >= kMaxParameters) return data;
  const Type& type = signature.parameters[index].type;
  if (!is_followed(type.kind)) return data;
  switch (type.kind) {
    case TypeKind::string:
    case TypeKind::path:
      data.kind = Kind::string;
      return data;
    case TypeKind::utf16:
      data.kind = Kind::utf16;
      return data;
    case TypeKind::string_array:
      data.kind = Kind::string_array;
      return data;
    case TypeKind::buffer:
      break;
    case TypeKind::structure:
      data.element_size = vocabulary.structure_size(type.name);
      if (data.element_size == 0) return data;
      if (!type.length_from.empty() && is_counted_in_bytes(type.name)) data.element_size = 1;
      break;
    default:
      data.kind = Kind::kernel;
      return data;
  }
  data.kind = Kind::bytes;
  const std::string& from = type.length_from;
  data.count_is_result = from == "ret";
  std::from_chars(from.data(), from.data() + from.size(), data.count);
  for (std::size_t i = 0; i < signature.parameters.size(); ++i) {
    if (signature.parameters[i].name == from) data.count_parameter = static_cast<int>(i);
    if (signature.parameters[i].name == type.length_times)
      data.factor_parameter = static_cast<int>(i);
  }
  return data;
}

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
