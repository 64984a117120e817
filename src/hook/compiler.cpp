#include "hook/compiler.h"

#include <algorithm>
#include <iterator>
#include <set>
#include <span>
#include <utility>

#include "hook/calling_convention.h"
#include "hook/context.h"
#include "hook/expression_compiler.h"
#include "hook/path_walk.h"
#include "hook/word_group.h"

namespace glasshook::hook {
namespace {

using capture::Builder;
using capture::Label;
using capture::ProgramRole;
using capture::Reg;

constexpr Reg kValue{0}, kLength{1};

/// Puts the name of what was compiled in front of an error.
std::unexpected<Error> in_context(Error error, std::string_view what) {
  error.message = fmt::format("{}: {}", what, error.message);
  return std::unexpected(std::move(error));
}

/// Emits the fields of one moment's captures.
class CaptureCompiler {
 public:
  CaptureCompiler(Builder& builder, const Scope& scope, const Target& target)
      : builder_(builder), scope_(scope), target_(target), expressions_(builder, scope) {}

  /// The first of the captures, and those behind it that go with it; how many that was.
  Result<std::size_t> emit(std::span<const Capture> captures, std::uint16_t field) {
    const Capture& capture = captures.front();
    if (capture.max == 0 || capture.max > capture::kMaxFieldBytes)
      return fail(ErrorCode::invalid_argument, "{}: max must be 1 to {}", capture.name,
                  capture::kMaxFieldBytes);
    const WordGroup group = words_together(captures);
    const auto emitted = group.size() > 1 ? words(captures.first(group.size()), group, field)
                                          : dispatch(capture, field);
    if (!emitted) return in_context(emitted.error(), capture.name);
    return std::max<std::size_t>(group.size(), 1);
  }

  /// Backward jumps all walks so far may need.
  [[nodiscard]] std::uint16_t back_jumps() const { return back_jumps_; }

 private:
  Result<> dispatch(const Capture& capture, std::uint16_t field) {
    switch (capture.kind) {
      case CaptureKind::word:
        return word(capture, field);
      case CaptureKind::string:
      case CaptureKind::utf16:
        return text(capture, field);
      case CaptureKind::bytes:
        return bytes(capture, field);
      case CaptureKind::path:
        return path(capture, field);
      case CaptureKind::dentry:
        return dentry(capture, field);
    }
    return fail(ErrorCode::invalid_argument, "unknown kind of capture");
  }

  /// Of the words at the beginning, those that can be computed as one group.
  [[nodiscard]] WordGroup words_together(std::span<const Capture> captures) const {
    WordGroup group;
    for (const Capture& capture : captures) {
      Builder alone;
      if (capture.kind != CaptureKind::word ||
          !ExpressionCompiler(alone, scope_).word(capture.expression, kValue) ||
          !group.add(alone.code()))
        break;
    }
    return group;
  }

  /// Where one of them cannot be read, those that can are fields of their own.
  Result<> words(std::span<const Capture> captures, const WordGroup& group, std::uint16_t field) {
    const auto count = static_cast<std::uint8_t>(captures.size());
    group.emit(builder_);
    if (!group.may_fault()) {
      builder_.emit_words(field, kValue, count);
      return {};
    }
    const Label unreadable = builder_.new_label();
    const Label done = builder_.new_label();
    builder_.jump_fault(unreadable).emit_words(field, kValue, count).jump(done).bind(unreadable);
    for (const Capture& capture : captures)
      if (auto emitted = word(capture, field++); !emitted) return emitted;
    builder_.bind(done);
    return {};
  }

  Result<> word(const Capture& capture, std::uint16_t field) {
    const auto type = expressions_.word(capture.expression, kValue);
    if (!type) return std::unexpected(type.error());
    const Label unreadable = builder_.new_label();
    if (expressions_.may_fault()) builder_.jump_fault(unreadable);
    builder_.emit_words(field, kValue, 1).bind(unreadable);
    return {};
  }

  /// The address an expression stands for, in kValue; the fault flag is clear after it. An
  /// unreadable pointer becomes null, so that the field is marked as faulted.
  Result<ValueType> address(const Capture& capture) {
    auto type = expressions_.address(capture.expression, kValue);
    if (!type || !expressions_.may_fault()) return type;
    const Label faulted = builder_.new_label();
    const Label good = builder_.new_label();
    builder_.jump_fault(faulted).jump(good).bind(faulted).move(kValue, std::uint64_t{0}).bind(good);
    return type;
  }

  /// `max`, or less when the type says that there is less.
  [[nodiscard]] std::uint32_t cap(const Capture& capture, const ValueType& type) const {
    const std::uint64_t size = scope_.types.size(type);
    const bool sized = scope_.types.is_struct(type) || scope_.types.array_element(type);
    return sized && size != 0
               ? static_cast<std::uint32_t>(std::min<std::uint64_t>(size, capture.max))
               : capture.max;
  }

  Result<> text(const Capture& capture, std::uint16_t field) {
    const auto type = address(capture);
    if (!type) return std::unexpected(type.error());
    const std::uint32_t max = scope_.types.array_element(*type) ? cap(capture, *type) : capture.max;
    if (capture.kind == CaptureKind::string)
      builder_.emit_string(field, kValue, max, scope_.string_space);
    else
      builder_.emit_utf16(field, kValue, std::nullopt, max, scope_.string_space);
    return {};
  }

  Result<> bytes(const Capture& capture, std::uint16_t field) {
    const auto type = address(capture);
    if (!type) return std::unexpected(type.error());
    if (capture.length.empty()) {
      builder_.emit_bytes(field, kValue, std::nullopt, cap(capture, *type), scope_.string_space);
      return {};
    }
    const auto length = expressions_.word(capture.length, kLength);
    if (!length) return std::unexpected(length.error());
    const Label known = builder_.new_label();
    if (expressions_.may_fault()) builder_.jump_fault(known).bind(known);
    builder_.emit_bytes(field, kValue, kLength, capture.max, scope_.string_space);
    return {};
  }

  Result<> path(const Capture& capture, std::uint16_t field) {
    const auto type = address(capture);
    if (!type) return std::unexpected(type.error());
    if (scope_.types.is_struct_named(*type, "file"))
      builder_.alu(capture::Op::add, kValue, static_cast<std::uint64_t>(target_.layout.file_path));
    else if (!scope_.types.is_struct_named(*type, "path"))
      return fail(ErrorCode::invalid_argument, "`{}` is no struct path or struct file but {}",
                  capture.expression, scope_.types.spelling(*type));
    emit_path(builder_, target_.layout, field);
    back_jumps_ += kPathSteps;
    return {};
  }

  Result<> dentry(const Capture& capture, std::uint16_t field) {
    const auto type = address(capture);
    if (!type) return std::unexpected(type.error());
    if (!scope_.types.is_struct_named(*type, "dentry"))
      return fail(ErrorCode::invalid_argument, "`{}` is no struct dentry * but points to {}",
                  capture.expression, scope_.types.spelling(*type));
    emit_dentry(builder_, target_.layout, field);
    emit_dentry_words(builder_, target_.layout,
                      static_cast<std::uint16_t>(field + kDentryWordsOffset));
    back_jumps_ += kPathSteps;
    return {};
  }

  Builder& builder_;
  const Scope& scope_;
  const Target& target_;
  ExpressionCompiler expressions_;
  std::uint16_t back_jumps_ = 0;
};

/// Compiles both programs of one spec.
class SpecCompiler {
 public:
  SpecCompiler(const HookSpec& spec, const linux_guest::Prototype* prototype, const Target& target)
      : spec_(spec), target_(target) {
    scope_.types = TypeSystem(target.types);
    scope_.symbols = target.symbols;
    scope_.arguments = kernel_arguments(prototype, scope_.types);
    scope_.current = kTaskRegister;
    scope_.has_operand = spec.instruction.has_value();
    const linux_guest::TypeId void_type{};
    exit_scope_ = scope_;
    if (prototype == nullptr)
      exit_scope_.result = ValueType{};
    else if (prototype->result == void_type)
      exit_scope_.result = ValueType::integer(0, false);
    else
      exit_scope_.result = ValueType::of(prototype->result);
  }

  Result<hypervisor::HookPrograms> run(hypervisor::HookId id) {
    if (auto planned = plan_saved_slots(); !planned) return std::unexpected(planned.error());
    Result<capture::Program> entry = entry_program();
    if (!entry) return in_context(entry.error(), "at entry");
    hypervisor::HookPrograms programs{.id = id, .entry = std::move(*entry), .on_return = {}};
    if (spec_.exit.enabled) {
      Result<capture::Program> exit = exit_program();
      if (!exit) return in_context(exit.error(), "at return");
      programs.on_return = std::move(*exit);
    }
    return programs;
  }

 private:
  /// Gives every argument that the return program reads a slot. Conditions that look at arguments
  /// alone move to the entry when it makes no record, so that fewer returns are waited for.
  Result<> plan_saved_slots() {
    std::set<std::size_t> saved;
    const auto add = [&](const std::string& expression) -> Result<> {
      if (expression.empty()) return {};
      const Result<Needs> needs = expression_needs(scope_, expression);
      if (!needs) return std::unexpected(needs.error());
      saved.insert(needs->arguments.begin(), needs->arguments.end());
      return {};
    };
    if (!spec_.exit.enabled) return {};
    for (const std::string& condition : spec_.exit.when) {
      const Result<Needs> needs = expression_needs(scope_, condition);
      if (!needs) return std::unexpected(needs.error());
      const bool early = !spec_.entry.enabled && !needs->result && !needs->memory;
      (early ? early_conditions_ : exit_conditions_).push_back(condition);
      if (!early) saved.insert(needs->arguments.begin(), needs->arguments.end());
    }
    for (const Capture& capture : spec_.exit.captures) {
      for (const std::string* expression : {&capture.expression, &capture.length})
        if (auto added = add(*expression); !added) return in_context(added.error(), capture.name);
    }
    if (saved.size() > capture::kSavedSlotCount)
      return fail(ErrorCode::limit, "the return needs {} arguments; at most {} can be kept",
                  saved.size(), capture::kSavedSlotCount);
    for (Argument& argument : exit_scope_.arguments) argument.place = Argument::Place::none;
    std::uint8_t slot = 0;
    for (const std::size_t index : saved) {
      saved_.push_back(index);
      exit_scope_.arguments[index].place = Argument::Place::slot;
      exit_scope_.arguments[index].slot = slot++;
    }
    return {};
  }

  /// Looks the task up the first time it is needed: a call that a condition filters out before
  /// costs nothing more.
  void need_identity(Builder& builder) {
    if (!identified_) emit_identity(builder, target_.layout);
    identified_ = true;
  }

  Result<> emit_conditions(Builder& builder, const Scope& scope,
                           const std::vector<std::string>& conditions, Label filtered) {
    ExpressionCompiler expressions(builder, scope);
    for (const std::string& condition : conditions) {
      const Result<Needs> needs = expression_needs(scope, condition);
      if (!needs) return std::unexpected(needs.error());
      if (needs->current) need_identity(builder);
      if (auto emitted = expressions.jump_unless(condition, filtered); !emitted) return emitted;
    }
    return {};
  }

  /// Adds to or removes from the sets of the process filter.
  Result<> emit_set_changes(Builder& builder) {
    ExpressionCompiler expressions(builder, scope_);
    const bool follows = !spec_.follow_into.empty() && target_.filter.tree;
    const bool forgets = !spec_.forget.empty() && !target_.filter.is_empty();
    if (follows || forgets) need_identity(builder);
    if (follows) {
      const auto pid = expressions.word(spec_.follow_into, kValue);
      if (!pid) return in_context(pid.error(), "follow_into");
      const Label skip = builder.new_label();
      builder.jump_fault(skip).set_add(kValue, target_.filter.tree_set).bind(skip);
    }
    if (forgets) {
      const auto pid = expressions.word(spec_.forget, kValue);
      if (!pid) return in_context(pid.error(), "forget");
      const Label skip = builder.new_label();
      builder.jump_fault(skip)
          .set_remove(kValue, target_.filter.pid_set)
          .set_remove(kValue, target_.filter.tree_set)
          .bind(skip);
    }
    return {};
  }

  void emit_saves(Builder& builder) {
    for (std::size_t i = 0; i < saved_.size(); ++i) {
      emit_raw_argument(builder, scope_.arguments[saved_[i]], kValue);
      builder.save(static_cast<std::uint8_t>(i), kValue);
    }
    builder.arm_return();
  }

  static Result<> check_anonymous(const Scope& scope, const Moment& moment) {
    for (const Capture& capture : moment.captures) {
      const Result<Needs> needs = expression_needs(scope, capture.expression);
      if (!needs) return in_context(needs.error(), capture.name);
      if (capture.kind != CaptureKind::word || needs->current)
        return fail(ErrorCode::invalid_argument, "capture {}: an anonymous hook does not know it",
                    capture.name);
    }
    return {};
  }

  Result<> emit_record(Builder& builder, const Scope& scope, const Moment& moment,
                       std::size_t first_field) {
    // What conditions and filters could not read is no fault of the captures.
    const Label clear = builder.new_label();
    builder.jump_fault(clear).bind(clear);
    if (!spec_.anonymous) {
      need_identity(builder);
      emit_context(builder, target_.layout, CodeMode::kernel);
    } else if (auto ok = check_anonymous(scope, moment); !ok) {
      return ok;
    }
    CaptureCompiler captures(builder, scope, target_);
    for (std::size_t i = 0; i < moment.captures.size();) {
      const auto field = static_cast<std::uint16_t>(kFirstCapture + first_field + i);
      const auto emitted = captures.emit(std::span{moment.captures}.subspan(i), field);
      if (!emitted) return std::unexpected(emitted.error());
      i += *emitted;
    }
    builder.set_back_jumps(captures.back_jumps());
    builder.send();
    return {};
  }

  Result<capture::Program> entry_program() {
    Builder builder(ProgramRole::entry);
    const Label filtered = builder.new_label();
    identified_ = false;
    if (spec_.in_scope_only && !target_.filter.is_empty()) {
      need_identity(builder);
      emit_process_filter(builder, target_.filter, target_.layout, filtered);
    }
    for (const std::vector<std::string>* conditions :
         {&spec_.entry.when, &std::as_const(early_conditions_)})
      if (auto emitted = emit_conditions(builder, scope_, *conditions, filtered); !emitted)
        return std::unexpected(emitted.error());
    if (auto emitted = emit_set_changes(builder); !emitted) return std::unexpected(emitted.error());
    if (spec_.exit.enabled) emit_saves(builder);
    if (spec_.entry.enabled)
      if (auto emitted = emit_record(builder, scope_, spec_.entry, 0); !emitted)
        return std::unexpected(emitted.error());
    return builder.bind(filtered).stop().build();
  }

  Result<capture::Program> exit_program() {
    Builder builder(ProgramRole::exit);
    const Label filtered = builder.new_label();
    identified_ = false;
    if (auto emitted = emit_conditions(builder, exit_scope_, exit_conditions_, filtered); !emitted)
      return std::unexpected(emitted.error());
    if (auto emitted = emit_record(builder, exit_scope_, spec_.exit, spec_.entry.captures.size());
        !emitted)
      return std::unexpected(emitted.error());
    return builder.bind(filtered).stop().build();
  }

  const HookSpec& spec_;
  const Target& target_;
  Scope scope_;       ///< at entry
  Scope exit_scope_;  ///< at return
  std::vector<std::size_t> saved_;
  std::vector<std::string> early_conditions_;  ///< the exit's that are checked at entry
  std::vector<std::string> exit_conditions_;
  bool identified_ = false;  ///< the program at work has looked the task up
};

}  // namespace

Result<hypervisor::HookPrograms> compile(const HookSpec& spec,
                                         const linux_guest::Prototype* prototype,
                                         const Target& target, hypervisor::HookId id) {
  const std::size_t captures = spec.entry.captures.size() + spec.exit.captures.size();
  if (captures > kDentryWordsOffset - kFirstCapture)
    return fail(ErrorCode::limit, "{} captures are too many for one hook", captures);
  return SpecCompiler(spec, prototype, target).run(id);
}

}  // namespace glasshook::hook
