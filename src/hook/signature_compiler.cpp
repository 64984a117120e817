#include "hook/signature_compiler.h"

#include <algorithm>
#include <array>
#include <utility>

#include "api/call.h"
#include "hook/context.h"
#include "hook/path_walk.h"

namespace glasshook::hook {
namespace {

using api::Direction;
using api::PointedData;
using api::ResultConvention;
using api::TypeKind;
using capture::Builder;
using capture::CpuRegister;
using capture::Label;
using capture::Op;
using capture::ProgramRole;
using capture::Reg;
using capture::Space;

constexpr Reg kPointer{0}, kLength{1}, kFactor{2}, kParent{3};
/// TEB.LastErrorValue behind the GS base of x86-64 Windows (winternl.h, TEB).
constexpr std::int32_t kTebLastError = 0x68;
/// Bit i: what parameter i points to was unreadable at entry. Lives beside the path walks, which
/// use r0..r9 and the task register.
constexpr Reg kUnread{15};
constexpr std::uint64_t kZero = 0;

std::uint64_t bit(std::size_t index) { return std::uint64_t{1} << index; }

/// Cuts a word down to what the callee sees of it.
void emit_narrow(Builder& builder, Reg reg, const api::Type& type) {
  if (type.size == 0 || type.size >= 8) return;
  if (type.is_signed && (type.size == 1 || type.size == 2 || type.size == 4))
    builder.sign_extend(reg, type.size);
  else
    builder.alu(Op::bit_and, reg, (std::uint64_t{1} << (8 * type.size)) - 1);
}

/// The -1 of a result type, as emit_narrow() leaves it.
std::uint64_t minus_one(const api::Type& type) {
  return type.is_signed || type.size == 0 || type.size >= 8 ? ~kZero
                                                            : bit(std::size_t{8} * type.size) - 1;
}

void emit_clamp(Builder& builder, Reg reg, std::uint64_t most) {
  const Label fits = builder.new_label();
  builder.jump_if(Op::jump_le, reg, most, fits).move(reg, most).bind(fits);
}

class SignatureCompiler {
 public:
  SignatureCompiler(const api::Signature& signature, const api::Vocabulary& vocabulary, Abi abi,
                    const Target& target, const SignatureOptions& options)
      : signature_(signature),
        target_(target),
        options_(options),
        abi_(abi),
        mode_(abi == Abi::linux_kernel ? CodeMode::kernel : CodeMode::user),
        is_windows_(abi == Abi::win64_user),
        returns_(signature.returns && options.returns) {
    const std::size_t count = std::min(signature.parameters.size(), api::kMaxParameters);
    for (std::size_t i = 0; i < signature.parameters.size(); ++i)
      arguments_.push_back(integer_argument(abi, i));
    for (std::size_t i = 0; i < count; ++i)
      pointed_.push_back(api::pointed_data(vocabulary, signature, i));
    nested_ = api::nested_data(vocabulary, signature);
  }

  Result<hypervisor::HookPrograms> run(hypervisor::HookId id) {
    if (returns_) plan_slots();
    Result<capture::Program> entry = entry_program();
    if (!entry) return std::unexpected(entry.error());
    hypervisor::HookPrograms programs{.id = id, .entry = std::move(*entry), .on_return = {}};
    if (returns_) {
      Result<capture::Program> exit = exit_program();
      if (!exit) return std::unexpected(exit.error());
      programs.on_return = std::move(*exit);
    }
    return programs;
  }

 private:
  static constexpr std::uint8_t kNoSlot = 0xff;

  /// An `in` pointer that is followed again at the return when it was unreadable at entry.
  [[nodiscard]] bool is_read_again(std::size_t i) const {
    return returns_ && signature_.parameters[i].direction == Direction::in &&
           pointed_[i].kind != PointedData::Kind::none &&
           pointed_[i].kind != PointedData::Kind::kernel && !pointed_[i].count_is_result;
  }
  [[nodiscard]] bool is_read_at_exit(std::size_t i) const {
    return signature_.parameters[i].direction != Direction::in &&
           pointed_[i].kind != PointedData::Kind::none;
  }

  /// Register arguments the return needs get a slot; arguments on the stack are still there. With
  /// six registers at most, the bit mask and the entry address, eight slots always do.
  void plan_slots() {
    std::uint8_t next = 0;
    const auto keep = [&](int index) {
      if (index < 0 || static_cast<std::size_t>(index) >= arguments_.size()) return;
      Argument& argument = arguments_[static_cast<std::size_t>(index)];
      if (argument.place != Argument::Place::cpu || slots_[register_of(argument)] != kNoSlot)
        return;
      slots_[register_of(argument)] = next++;
    };
    bool any_again = false;
    for (std::size_t i = 0; i < pointed_.size(); ++i) {
      any_again |= is_read_again(i);
      if (!is_read_again(i) && !is_read_at_exit(i)) continue;
      keep(static_cast<int>(i));
      keep(pointed_[i].count_parameter);
      keep(pointed_[i].factor_parameter);
    }
    if (any_again) unread_slot_ = next++;
    if (reads_errno() && options_.errno_slot_delta) rip_slot_ = next++;
  }

  [[nodiscard]] bool reads_last_error() const {
    return abi_ == Abi::win64_user &&
           (signature_.convention == ResultConvention::last_error_if_minus_one ||
            signature_.convention == ResultConvention::last_error_if_null);
  }

  [[nodiscard]] bool reads_errno() const {
    const bool sets_errno = signature_.convention == ResultConvention::errno_if_minus_one ||
                            signature_.convention == ResultConvention::errno_if_null;
    return sets_errno && mode_ == CodeMode::user &&
           (options_.errno_slot_delta || options_.errno_offset);
  }

  static std::size_t register_of(const Argument& argument) {
    return static_cast<std::size_t>(argument.cpu);
  }

  Result<capture::Program> entry_program() {
    Builder builder(ProgramRole::entry);
    const Label stopped = builder.new_label();
    emit_identity(builder, target_.layout);
    emit_process_filter(builder, target_.filter, target_.layout, stopped);
    if (options_.rate_limiter) builder.rate_limit(*options_.rate_limiter, stopped);
    emit_context(builder, target_.layout, mode_);
    if (is_windows_) emit_win32_words(builder);
    emit_arguments(builder);
    back_jumps_ = 0;
    for (std::size_t i = 0; i < pointed_.size(); ++i)
      if (signature_.parameters[i].direction != Direction::out)
        emit_data(builder, i, ProgramRole::entry);
    if (returns_) emit_saves(builder);
    return builder.set_back_jumps(back_jumps_).send().bind(stopped).stop().build();
  }

  /// The raw words. All of them need registers in a row, so a long list takes the place of the
  /// context's, and the task is looked up again.
  void emit_arguments(Builder& builder) {
    const auto count = static_cast<std::uint8_t>(pointed_.size());
    if (count == 0) return;
    for (std::uint8_t i = 0; i < count; ++i) emit_raw_argument(builder, arguments_[i], Reg{i});
    builder.emit_words(api::kArgumentsField, Reg{0}, count);
    if (count > kTaskRegister.number) emit_identity(builder, target_.layout);
    const Label clear = builder.new_label();
    builder.jump_fault(clear).bind(clear).move(kUnread, kZero);
  }

  void emit_saves(Builder& builder) {
    for (std::size_t number = 0; number < slots_.size(); ++number) {
      if (slots_[number] == kNoSlot) continue;
      builder.load_cpu(kPointer, static_cast<CpuRegister>(number)).save(slots_[number], kPointer);
    }
    if (unread_slot_ != kNoSlot) builder.save(unread_slot_, kUnread);
    if (rip_slot_ != kNoSlot)
      builder.load_cpu(kPointer, CpuRegister::rip).save(rip_slot_, kPointer);
    builder.arm_return();
  }

  Result<capture::Program> exit_program() {
    Builder builder(ProgramRole::exit);
    emit_identity(builder, target_.layout);
    emit_context(builder, target_.layout, mode_);
    emit_result(builder);
    if (unread_slot_ != kNoSlot) builder.load_saved(kUnread, unread_slot_);
    back_jumps_ = 0;
    for (std::size_t i = 0; i < pointed_.size(); ++i) {
      if (is_read_at_exit(i)) {
        emit_data(builder, i, ProgramRole::exit);
      } else if (is_read_again(i)) {
        const Label again = builder.new_label();
        const Label done = builder.new_label();
        builder.jump_if(Op::jump_any_bit, kUnread, bit(i), again).jump(done).bind(again);
        emit_data(builder, i, ProgramRole::exit);
        builder.bind(done);
      }
    }
    return builder.set_back_jumps(back_jumps_).send().build();
  }

  /// {result, error}; the error is read only after a failure.
  void emit_result(Builder& builder) {
    constexpr Reg kResult{0}, kErrno{1}, kScratch{2}, kBase{3};
    builder.load_cpu(kResult, CpuRegister::rax).move(kErrno, ~kZero);
    if (reads_errno()) {
      const bool null_fails = signature_.convention == ResultConvention::errno_if_null;
      const std::uint64_t failure = null_fails ? kZero : minus_one(signature_.result);
      const Label unknown = builder.new_label();
      builder.move(kScratch, kResult);
      emit_narrow(builder, kScratch, signature_.result);
      builder.jump_if(Op::jump_ne, kScratch, failure, unknown);
      if (options_.errno_slot_delta)
        builder.load_saved(kScratch, rip_slot_)
            .alu(Op::add, kScratch, static_cast<std::uint64_t>(*options_.errno_slot_delta))
            .load_memory(kScratch, kScratch, 0, 8, Space::current)
            .jump_fault(unknown);
      else
        builder.move(kScratch, static_cast<std::uint64_t>(*options_.errno_offset));
      builder.load_cpu(kBase, CpuRegister::fs_base)
          .alu(Op::add, kScratch, kBase)
          .load_memory(kScratch, kScratch, 0, 4, Space::current)
          .jump_fault(unknown)
          .move(kErrno, kScratch)
          .bind(unknown);
    } else if (reads_last_error()) {
      const bool null_fails = signature_.convention == ResultConvention::last_error_if_null;
      const std::uint64_t failure = null_fails ? kZero : minus_one(signature_.result);
      const Label unknown = builder.new_label();
      builder.move(kScratch, kResult);
      emit_narrow(builder, kScratch, signature_.result);
      builder.jump_if(Op::jump_ne, kScratch, failure, unknown)
          .load_cpu(kBase, CpuRegister::gs_base)
          .load_memory(kScratch, kBase, kTebLastError, 4, Space::current)
          .jump_fault(unknown)
          .move(kErrno, kScratch)
          .bind(unknown);
    }
    builder.emit_words(api::kResultField, kResult, 2);
  }

  /// The raw word of argument `index`.
  void load_argument(Builder& builder, std::size_t index, Reg into, ProgramRole role) {
    const Argument& argument = arguments_[index];
    if (role == ProgramRole::exit && argument.place == Argument::Place::cpu)
      builder.load_saved(into, slots_[register_of(argument)]);
    else
      emit_raw_argument(builder, argument, into);
  }

  /// What parameter `i` points to, and what the pointers in there lead to.
  void emit_data(Builder& builder, std::size_t i, ProgramRole role) {
    emit_pointed(builder, i, role);
    for (std::size_t entry = 0; entry < nested_.size(); ++entry)
      if (nested_[entry].parameter == i) emit_nested(builder, entry, role);
  }

  /// The field of what parameter `i` points to; none for a null pointer.
  void emit_pointed(Builder& builder, std::size_t i, ProgramRole role) {
    const PointedData& data = pointed_[i];
    if (data.kind == PointedData::Kind::none) return;
    if (data.count_is_result && role == ProgramRole::entry) return;
    const Label done = builder.new_label();
    load_argument(builder, i, kPointer, role);
    builder.jump_if(Op::jump_eq, kPointer, kZero, done);
    if (role == ProgramRole::entry && is_read_again(i)) emit_probe(builder, i);
    const auto field = static_cast<std::uint16_t>(api::kPointedField + i);
    if (data.kind == PointedData::Kind::kernel) {
      emit_kernel_object(builder, i);
    } else {
      if (data.kind == PointedData::Kind::bytes || data.is_counted)
        emit_length(builder, data, role, done);
      emit_field(builder, data, field);
    }
    builder.bind(done);
  }

  /// Notes that what kPointer leads to is unreadable, for parameter `i` to be read again.
  void emit_probe(Builder& builder, std::size_t i) {
    const Label unreadable = builder.new_label();
    const Label readable = builder.new_label();
    builder.load_memory(kLength, kPointer, 0, 1, Space::current)
        .jump_fault(unreadable)
        .jump(readable)
        .bind(unreadable)
        .alu(Op::bit_or, kUnread, bit(i))
        .bind(readable);
  }

  /// The data at kPointer, of kLength bytes where that counts.
  void emit_field(Builder& builder, const PointedData& data, std::uint16_t field) {
    switch (data.kind) {
      case PointedData::Kind::string:
        builder.emit_string(field, kPointer, options_.max_text, Space::current);
        break;
      case PointedData::Kind::utf16:
        builder.emit_utf16(field, kPointer,
                           data.is_counted ? std::optional<Reg>(kLength) : std::nullopt,
                           options_.max_text, Space::current);
        break;
      case PointedData::Kind::bytes:
        builder.emit_bytes(field, kPointer, kLength, options_.max_bytes, Space::current);
        break;
      case PointedData::Kind::string_array:
        emit_string_array(builder, field);
        break;
      case PointedData::Kind::kernel:
      case PointedData::Kind::none:
        break;
    }
  }

  /// The field of what a pointer in a structure leads to: goes there from the argument anew, so
  /// that no register has to be kept. None when a pointer on the way is null.
  void emit_nested(Builder& builder, std::size_t entry, ProgramRole role) {
    const api::NestedData& nested = nested_[entry];
    const bool again = role == ProgramRole::entry && is_read_again(nested.parameter);
    const Label done = builder.new_label();
    const Label unreadable = builder.new_label();
    load_argument(builder, nested.parameter, kPointer, role);
    builder.jump_if(Op::jump_eq, kPointer, kZero, done);
    std::array<std::size_t, api::kMaxNestedDepth> way{};
    std::size_t steps = 0;
    for (int at = nested.parent; at >= 0; at = nested_[static_cast<std::size_t>(at)].parent)
      way[steps++] = static_cast<std::size_t>(at);
    while (steps-- > 0) emit_step(builder, nested_[way[steps]].offset, unreadable, done);
    builder.move(kParent, kPointer);
    emit_step(builder, nested.offset, unreadable, done);
    if (again) emit_probe(builder, nested.parameter);
    const PointedData& data = nested.data;
    if (data.kind == PointedData::Kind::bytes || data.is_counted) {
      if (data.count_size != 0)
        builder
            .load_memory(kLength, kParent, static_cast<std::int32_t>(data.count_offset),
                         data.count_size, Space::current)
            .jump_fault(unreadable);
      else
        builder.move(kLength, std::uint64_t{data.count});
      emit_scaled_length(builder, data);
    }
    emit_field(builder, data, static_cast<std::uint16_t>(api::kNestedField + entry));
    builder.jump(done).bind(unreadable);
    if (again) builder.alu(Op::bit_or, kUnread, bit(nested.parameter));
    builder.bind(done);
  }

  /// kPointer = the pointer at `offset` behind it.
  void emit_step(Builder& builder, std::uint32_t offset, Label unreadable, Label nothing) {
    builder.load_memory(kPointer, kPointer, static_cast<std::int32_t>(offset), 8, Space::current)
        .jump_fault(unreadable)
        .jump_if(Op::jump_eq, kPointer, kZero, nothing);
  }

  /// Bytes to read, in kLength.
  void emit_length(Builder& builder, const PointedData& data, ProgramRole role, Label nothing) {
    if (data.count_is_result) {
      builder.load_cpu(kLength, CpuRegister::rax);
      emit_narrow(builder, kLength, signature_.result);
      builder.jump_if(Op::jump_signed_lt, kLength, kZero, nothing);
    } else if (data.count_parameter >= 0) {
      emit_count(builder, data, role, nothing);
    } else {
      builder.move(kLength, std::uint64_t{data.count});
    }
    emit_scaled_length(builder, data);
    const std::uint64_t most = most_bytes(data);
    if (data.factor_parameter >= 0) {
      emit_word(builder, data.factor_parameter, kFactor, role);
      emit_clamp(builder, kFactor, most);
      builder.alu(Op::multiply, kLength, kFactor);
    }
  }

  /// One byte more than the cap (rounded to whole elements) stands for any larger number, so that
  /// the field is marked as cut and nothing overflows.
  [[nodiscard]] std::uint64_t most_bytes(const PointedData& data) const {
    const bool is_text = data.kind == PointedData::Kind::utf16;
    return (is_text ? options_.max_text : options_.max_bytes) + (is_text ? 2 : 1);
  }

  /// From elements to bytes in kLength.
  void emit_scaled_length(Builder& builder, const PointedData& data) {
    const std::uint64_t most = most_bytes(data);
    emit_clamp(builder, kLength, most);
    if (data.element_size == 1) return;
    builder.alu(Op::multiply, kLength, std::uint64_t{data.element_size});
    emit_clamp(builder, kLength, most);
  }

  /// The count in a parameter's word, or in memory behind it.
  void emit_count(Builder& builder, const PointedData& data, ProgramRole role, Label nothing) {
    if (data.count_size == 0) return emit_word(builder, data.count_parameter, kLength, role);
    load_argument(builder, static_cast<std::size_t>(data.count_parameter), kParent, role);
    builder.jump_if(Op::jump_eq, kParent, kZero, nothing)
        .load_memory(kLength, kParent, static_cast<std::int32_t>(data.count_offset),
                     data.count_size, Space::current)
        .jump_fault(nothing);
  }

  void emit_word(Builder& builder, int parameter, Reg into, ProgramRole role) {
    const auto index = static_cast<std::size_t>(parameter);
    load_argument(builder, index, into, role);
    emit_narrow(builder, into, signature_.parameters[index].type);
  }

  void emit_string_array(Builder& builder, std::uint16_t field) {
    constexpr Reg kString{1}, kLeft{2}, kDetail{3};
    const Label loop = builder.new_label();
    const Label more = builder.new_label();
    const Label faulted = builder.new_label();
    const Label done = builder.new_label();
    builder.begin_list(field)
        .move(kLeft, std::uint64_t{kMaxArrayStrings})
        .move(kDetail, kZero)
        .bind(loop)
        .load_memory(kString, kPointer, 0, 8, Space::current)
        .jump_fault(faulted)
        .jump_if(Op::jump_eq, kString, kZero, done)
        .jump_if(Op::jump_ne, kLeft, kZero, more)
        .move(kDetail, std::uint64_t{kArrayTruncated})
        .jump(done)
        .bind(more)
        .alu(Op::sub, kLeft, std::uint64_t{1})
        .append_string(kString, options_.max_text, Space::current)
        .alu(Op::add, kPointer, std::uint64_t{8})
        .jump_back(loop)
        .bind(faulted)
        .move(kDetail, std::uint64_t{kArrayFaulted})
        .bind(done)
        .end_list(kDetail);
    back_jumps_ += kMaxArrayStrings;
  }

  void emit_kernel_object(Builder& builder, std::size_t i) {
    const auto field = static_cast<std::uint16_t>(api::kPointedField + i);
    const GuestLayout& layout = target_.layout;
    switch (signature_.parameters[i].type.kind) {
      case TypeKind::kernel_file:
        builder.alu(Op::add, kPointer, static_cast<std::uint64_t>(layout.file_path));
        [[fallthrough]];
      case TypeKind::kernel_path:
        emit_path(builder, layout, field);
        back_jumps_ += kPathSteps;
        break;
      case TypeKind::kernel_dentry:
        emit_dentry(builder, layout, field);
        back_jumps_ += kPathSteps;
        break;
      case TypeKind::kernel_filename:
        builder.load_memory(kPointer, kPointer, layout.filename_name, 8, Space::kernel)
            .emit_string(field, kPointer, options_.max_text, Space::kernel);
        break;
      case TypeKind::kernel_task:
        builder.load_memory(kLength, kPointer, layout.task.pid, 4, Space::kernel)
            .emit_words(field, kLength, 1)
            .alu(Op::add, kPointer, static_cast<std::uint64_t>(layout.task.comm))
            .emit_string(static_cast<std::uint16_t>(api::kSecondField + i), kPointer, kMaxTaskName,
                         Space::kernel);
        break;
      default:
        break;
    }
    const Label clear = builder.new_label();
    builder.jump_fault(clear).bind(clear);
  }

  static constexpr std::uint32_t kMaxTaskName = 16;  ///< TASK_COMM_LEN

  static constexpr std::array<std::uint8_t, 16> no_slots() {
    std::array<std::uint8_t, 16> slots;
    slots.fill(kNoSlot);
    return slots;
  }

  const api::Signature& signature_;
  const Target& target_;
  const SignatureOptions& options_;
  Abi abi_;
  CodeMode mode_;
  bool is_windows_;
  bool returns_;
  std::vector<Argument> arguments_;                  ///< of every parameter
  std::vector<PointedData> pointed_;                 ///< of the captured ones
  std::vector<api::NestedData> nested_;              ///< behind pointers in structures
  std::array<std::uint8_t, 16> slots_ = no_slots();  ///< by general register
  std::uint8_t unread_slot_ = kNoSlot;
  std::uint8_t rip_slot_ = kNoSlot;
  std::uint16_t back_jumps_ = 0;
};

}  // namespace

api::Signature raw_signature(std::string module, std::string name) {
  constexpr std::size_t kRegisters = 6;
  api::Signature signature;
  signature.module = std::move(module);
  signature.name = std::move(name);
  for (std::size_t i = 0; i < kRegisters; ++i)
    signature.parameters.push_back({.name = fmt::format("arg{}", i), .type = {}});
  return signature;
}

Result<hypervisor::HookPrograms> compile_signature(const api::Signature& signature,
                                                   const api::Vocabulary& vocabulary, Abi abi,
                                                   const Target& target,
                                                   const SignatureOptions& options,
                                                   hypervisor::HookId id) {
  if (options.max_text == 0 || options.max_text > capture::kMaxFieldBytes ||
      options.max_bytes == 0 || options.max_bytes > capture::kMaxFieldBytes)
    return fail(ErrorCode::invalid_argument, "caps of captured data must be 1 to {} bytes",
                capture::kMaxFieldBytes);
  return SignatureCompiler(signature, vocabulary, abi, target, options).run(id);
}

}  // namespace glasshook::hook
