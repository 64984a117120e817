#include "capture/verifier.h"

#include <bit>
#include <optional>
#include <string>

#include "capture/op_table.h"

namespace glasshook::capture {
namespace {

bool is_register(int n) { return n < kRegisterCount; }
bool is_space(std::uint64_t n) { return n <= static_cast<std::uint64_t>(Space::kernel); }
bool is_field(std::uint64_t n) { return n <= 0xffff; }
bool is_cap(std::int32_t n) { return n > 0 && n <= static_cast<std::int32_t>(kMaxFieldBytes); }
bool is_load_size(std::uint8_t n) { return n == 1 || n == 2 || n == 4 || n == 8; }

/// Which fields an instruction may have set.
struct Uses {
  bool dst = false, src = false, size = false, offset = false, imm = false;
};

Uses uses(const Instruction& in) {
  const bool immediate = in.src == kImmediate;
  switch (op_info(in.op).shape) {
    case Shape::none:
      return {};
    case Shape::load_cpu:
    case Shape::load_saved:
      return {.dst = true, .imm = true};
    case Shape::operand:
      return {.dst = true, .src = true, .imm = immediate};
    case Shape::load_memory:
      return {.dst = true, .src = true, .size = true, .offset = true, .imm = true};
    case Shape::sign_extend:
      return {.dst = true, .size = true};
    case Shape::save:
    case Shape::set_change:
      return {.src = true, .imm = true};
    case Shape::jump:
      return {.offset = true};
    case Shape::compare:
      return {.dst = true, .src = true, .offset = true, .imm = immediate};
    case Shape::match:
      return {.dst = true, .src = true, .size = true, .imm = true};
    case Shape::set_test:
      return {.dst = true, .src = true, .imm = true};
    case Shape::limit:
      return {.offset = true, .imm = true};
    case Shape::words:
      return {.dst = true, .size = true, .imm = true};
    case Shape::text:
      return {.dst = true, .src = true, .offset = true, .imm = true};
    case Shape::counted:
      return {.dst = true, .src = true, .size = true, .offset = true, .imm = true};
    case Shape::begin_list:
      return {.imm = true};
    case Shape::append:
      return {.dst = true, .src = true, .offset = true};
    case Shape::end_list:
      return {.dst = true};
    case Shape::chain:
      return {.dst = true, .src = true, .size = true, .offset = true, .imm = true};
  }
  return {};
}

const char* chain_fault(const Instruction& in) {
  const auto step = std::bit_cast<ChainStep>(in.imm);
  if (!is_register(in.src) || !is_register(in.src + 1) || !is_register(in.size))
    return "names a register above r15";
  if (in.offset < 0 || in.offset > kMaxChainOffset || step.next > kMaxChainOffset)
    return "has an offset outside 0..4096";
  if (!is_cap(step.max)) return "has a cap outside 1..8192";
  if (step.reserved != 0) return "has bits that mean nothing";
  return nullptr;
}

/// What is wrong with the operands of one instruction, or nullptr.
const char* operand_fault(const Instruction& in, std::size_t pattern_count) {
  const Uses used = uses(in);
  if ((!used.dst && in.dst) || (!used.src && in.src) || (!used.size && in.size) ||
      (!used.offset && in.offset) || (!used.imm && in.imm))
    return "sets a field the operation does not use";
  if (used.dst && !is_register(in.dst)) return "names a register above r15";

  const bool source_ok = is_register(in.src);
  switch (op_info(in.op).shape) {
    case Shape::load_cpu:
      if (in.imm >= static_cast<std::uint64_t>(CpuRegister::count_))
        return "names an unknown processor register";
      break;
    case Shape::operand:
    case Shape::compare:
      if (!source_ok && in.src != kImmediate) return "names a register above r15";
      break;
    case Shape::load_memory:
      if (!source_ok) return "names a register above r15";
      if (!is_load_size(in.size)) return "has a size other than 1, 2, 4 or 8";
      if (!is_space(in.imm)) return "names an unknown space";
      break;
    case Shape::sign_extend:
      if (!is_load_size(in.size)) return "has a size other than 1, 2, 4 or 8";
      break;
    case Shape::load_saved:
    case Shape::save:
      if (!source_ok) return "names a register above r15";
      if (in.imm >= kSavedSlotCount) return "names a saved slot that does not exist";
      break;
    case Shape::match:
      if (!source_ok) return "names a register above r15";
      if (!is_space(in.size)) return "names an unknown space";
      if (in.imm >= pattern_count) return "names a pattern that does not exist";
      break;
    case Shape::set_test:
    case Shape::set_change:
      if (!source_ok) return "names a register above r15";
      if (in.imm >= kSetCount) return "names a set that does not exist";
      break;
    case Shape::limit:
      if (in.imm >= kLimiterCount) return "names a limiter that does not exist";
      break;
    case Shape::words:
      if (!is_field(in.imm)) return "has a field id above 65535";
      if (in.size == 0 || in.dst + in.size > kRegisterCount) return "emits registers above r15";
      break;
    case Shape::counted:
      if (!is_register(in.size) && in.size != kImmediate) return "names a register above r15";
      [[fallthrough]];
    case Shape::text:
      if (!is_field(in.imm)) return "has a field id above 65535";
      [[fallthrough]];
    case Shape::append:
      if (!is_space(in.src)) return "names an unknown space";
      if (!is_cap(in.offset)) return "has a cap outside 1..8192";
      break;
    case Shape::begin_list:
      if (!is_field(in.imm)) return "has a field id above 65535";
      break;
    case Shape::chain:
      return chain_fault(in);
    case Shape::none:
    case Shape::jump:
    case Shape::end_list:
      break;
  }
  return nullptr;
}

const char* role_fault(Op op, ProgramRole role) {
  if ((op == Op::save || op == Op::arm_return) && role != ProgramRole::entry)
    return "is allowed in entry programs only";
  if (op == Op::load_saved && role != ProgramRole::exit) return "is allowed in exit programs only";
  return nullptr;
}

bool ends_flow(Op op) {
  return op == Op::jump || op == Op::jump_back || op == Op::send || op == Op::stop;
}

const char* jump_fault(const Instruction& in, std::size_t at, std::size_t count) {
  if (has_jump_target(in.op)) {
    const std::int64_t target = static_cast<std::int64_t>(at) + 1 + in.offset;
    if (target < 0 || target >= static_cast<std::int64_t>(count)) return "jumps out of the program";
    if (in.op == Op::jump_back && in.offset >= 0) return "must jump backward";
    if (in.op != Op::jump_back && in.offset < 0) return "must jump forward";
  }
  if (!ends_flow(in.op) && at + 1 == count)
    return "is the last instruction and can fall off the end";
  return nullptr;
}

/// Follows every path once, in order, with the one piece of state that matters: is a list open?
class ListCheck {
 public:
  explicit ListCheck(const Program& program)
      : program_(program), states_(program.code.size(), State::unreached) {
    states_[0] = State::closed;
  }

  /// What is wrong with instruction `at` and the ways out of it, or nullptr.
  const char* step(std::size_t at) {
    const Instruction& in = program_.code[at];
    State state = states_[at];
    if (state == State::unreached) return nullptr;
    switch (in.op) {
      case Op::begin_list:
        if (state == State::open) return "opens a list inside a list";
        state = State::open;
        break;
      case Op::append_string:
      case Op::append_chain:
      case Op::end_list:
        if (state == State::closed) return "needs an open list";
        if (in.op == Op::end_list) state = State::closed;
        break;
      case Op::emit_words:
      case Op::emit_string:
      case Op::emit_utf16:
      case Op::emit_bytes:
      case Op::send:
        if (state == State::open) return "stands inside an open list";
        break;
      default:
        break;
    }
    if (has_jump_target(in.op)) {
      State& target = states_[at + 1 + static_cast<std::size_t>(std::int64_t{in.offset})];
      if (in.op == Op::jump_back && target == State::unreached)
        return "jumps back to code that nothing before it reaches";
      if (const char* fault = join(target, state)) return fault;
    }
    return ends_flow(in.op) ? nullptr : join(states_[at + 1], state);
  }

 private:
  enum class State : std::uint8_t { unreached, closed, open };

  static const char* join(State& target, State state) {
    if (target != State::unreached && target != state)
      return "leads to code that is reached both with an open and without a list";
    target = state;
    return nullptr;
  }

  const Program& program_;
  std::vector<State> states_;
};

Result<> check_limits(const Program& program) {
  if (program.code.empty()) return fail(ErrorCode::invalid_argument, "the program is empty");
  if (program.code.size() > kMaxInstructions)
    return fail(ErrorCode::limit, "the program has {} instructions; the limit is {}",
                program.code.size(), kMaxInstructions);
  if (program.back_jumps > kMaxBackJumps)
    return fail(ErrorCode::limit, "the program may jump back {} times; the limit is {}",
                program.back_jumps, kMaxBackJumps);
  std::size_t pool = 0;
  for (const Pattern& pattern : program.patterns) {
    if (pattern.kind > PatternKind::glob)
      return fail(ErrorCode::invalid_argument, "a pattern has an unknown kind");
    if (pattern.text.size() > kMaxPatternBytes)
      return fail(ErrorCode::limit, "a pattern has {} bytes; the limit is {}", pattern.text.size(),
                  kMaxPatternBytes);
    if (pattern.text.find('\0') != std::string::npos)
      return fail(ErrorCode::invalid_argument, "a pattern contains a NUL byte: it never matches");
    pool += pattern.text.size();
  }
  if (program.patterns.size() > kMaxPatterns || pool > kMaxPoolBytes)
    return fail(ErrorCode::limit, "{} patterns of {} bytes; the limits are {} and {}",
                program.patterns.size(), pool, kMaxPatterns, kMaxPoolBytes);
  return {};
}

}  // namespace

Result<> verify(const Program& program, ProgramRole role) {
  if (auto limits = check_limits(program); !limits) return limits;

  const auto fault_at = [&](std::size_t at, std::string_view fault) {
    return fail(ErrorCode::invalid_argument, "instruction {} ({}) {}", at,
                op_info(program.code[at].op).name, fault);
  };
  const std::size_t count = program.code.size();
  for (std::size_t at = 0; at < count; ++at) {
    const Instruction& in = program.code[at];
    if (in.op >= Op::count_)
      return fail(ErrorCode::invalid_argument, "instruction {} has unknown operation {}", at,
                  static_cast<int>(in.op));
    const char* fault = operand_fault(in, program.patterns.size());
    if (!fault) fault = role_fault(in.op, role);
    if (!fault) fault = jump_fault(in, at, count);
    if (fault) return fault_at(at, fault);
  }
  ListCheck lists(program);
  for (std::size_t at = 0; at < count; ++at)
    if (const char* fault = lists.step(at)) return fault_at(at, fault);
  return {};
}

}  // namespace glasshook::capture
