#include "capture/builder.h"

#include <algorithm>
#include <bit>

#include "capture/op_table.h"

namespace glasshook::capture {
namespace {

std::uint8_t encode(Space space) { return static_cast<std::uint8_t>(space); }

/// Caps above what an offset can hold stay too big, so that verify() refuses them.
std::int32_t encode_cap(std::uint32_t max) {
  return static_cast<std::int32_t>(std::min(max, kMaxFieldBytes + 1));
}

}  // namespace

Label Builder::new_label() {
  labels_.push_back(kUnbound);
  return {static_cast<std::uint32_t>(labels_.size() - 1)};
}

Builder& Builder::bind(Label label) {
  if (label.index >= labels_.size()) {
    note_error("a label of another builder is bound");
  } else if (labels_[label.index] != kUnbound) {
    note_error(fmt::format("label {} is bound twice", label.index));
  } else {
    labels_[label.index] = static_cast<std::int64_t>(program_.code.size());
  }
  return *this;
}

PatternIndex Builder::pattern(PatternKind kind, std::string_view text) {
  const Pattern wanted{kind, std::string(text)};
  const auto found = std::ranges::find(program_.patterns, wanted);
  const auto index = static_cast<std::uint32_t>(found - program_.patterns.begin());
  if (found == program_.patterns.end()) program_.patterns.push_back(wanted);
  return {index};
}

Builder& Builder::set_back_jumps(std::uint16_t count) {
  program_.back_jumps = count;
  return *this;
}

Builder& Builder::append(const Instruction& instruction) {
  program_.code.push_back(instruction);
  return *this;
}

Builder& Builder::append_jump(Instruction instruction, Label target) {
  fixups_.push_back({program_.code.size(), target});
  return append(instruction);
}

void Builder::note_error(std::string message) {
  if (error_.empty()) error_ = std::move(message);
}

Builder& Builder::load_cpu(Reg dst, CpuRegister source) {
  return append({.op = Op::load_cpu, .dst = dst.number, .imm = static_cast<std::uint64_t>(source)});
}

Builder& Builder::move(Reg dst, Operand value) { return alu(Op::move, dst, value); }

Builder& Builder::alu(Op op, Reg dst, Operand value) {
  if (op >= Op::count_ || op_info(op).shape != Shape::operand)
    note_error(fmt::format("operation {} is not arithmetic", static_cast<int>(op)));
  return append({.op = op, .dst = dst.number, .src = value.src(), .imm = value.imm()});
}

Builder& Builder::load_memory(Reg dst, Reg base, std::int32_t offset, std::uint8_t size,
                              Space space) {
  return append({.op = Op::load_memory,
                 .dst = dst.number,
                 .src = base.number,
                 .size = size,
                 .offset = offset,
                 .imm = encode(space)});
}

Builder& Builder::sign_extend(Reg dst, std::uint8_t size) {
  return append({.op = Op::sign_extend, .dst = dst.number, .size = size});
}

Builder& Builder::load_saved(Reg dst, std::uint8_t slot) {
  return append({.op = Op::load_saved, .dst = dst.number, .imm = slot});
}

Builder& Builder::save(std::uint8_t slot, Reg value) {
  return append({.op = Op::save, .src = value.number, .imm = slot});
}

Builder& Builder::jump(Label target) { return append_jump({.op = Op::jump}, target); }

Builder& Builder::jump_back(Label target) { return append_jump({.op = Op::jump_back}, target); }

Builder& Builder::jump_if(Op op, Reg left, Operand right, Label target) {
  if (op >= Op::count_ || op_info(op).shape != Shape::compare)
    note_error(fmt::format("operation {} is not a conditional jump", static_cast<int>(op)));
  return append_jump({.op = op, .dst = left.number, .src = right.src(), .imm = right.imm()},
                     target);
}

Builder& Builder::jump_fault(Label target) { return append_jump({.op = Op::jump_fault}, target); }

Builder& Builder::match_string(Reg dst, Reg address, PatternIndex pattern, Space space) {
  return append({.op = Op::match_string,
                 .dst = dst.number,
                 .src = address.number,
                 .size = encode(space),
                 .imm = pattern.index});
}

Builder& Builder::set_has(Reg dst, Reg key, std::uint32_t set) {
  return append({.op = Op::set_has, .dst = dst.number, .src = key.number, .imm = set});
}

Builder& Builder::set_add(Reg key, std::uint32_t set) {
  return append({.op = Op::set_add, .src = key.number, .imm = set});
}

Builder& Builder::set_remove(Reg key, std::uint32_t set) {
  return append({.op = Op::set_remove, .src = key.number, .imm = set});
}

Builder& Builder::rate_limit(std::uint32_t limiter, Label when_limited) {
  return append_jump({.op = Op::rate_limit, .imm = limiter}, when_limited);
}

Builder& Builder::emit_words(std::uint16_t field, Reg first, std::uint8_t count) {
  return append({.op = Op::emit_words, .dst = first.number, .size = count, .imm = field});
}

Builder& Builder::emit_string(std::uint16_t field, Reg address, std::uint32_t max, Space space) {
  return append({.op = Op::emit_string,
                 .dst = address.number,
                 .src = encode(space),
                 .offset = encode_cap(max),
                 .imm = field});
}

Builder& Builder::emit_utf16(std::uint16_t field, Reg address, std::optional<Reg> length,
                             std::uint32_t max, Space space) {
  return append({.op = Op::emit_utf16,
                 .dst = address.number,
                 .src = encode(space),
                 .size = length ? length->number : kImmediate,
                 .offset = encode_cap(max),
                 .imm = field});
}

Builder& Builder::emit_bytes(std::uint16_t field, Reg address, std::optional<Reg> length,
                             std::uint32_t max, Space space) {
  return append({.op = Op::emit_bytes,
                 .dst = address.number,
                 .src = encode(space),
                 .size = length ? length->number : kImmediate,
                 .offset = encode_cap(max),
                 .imm = field});
}

Builder& Builder::begin_list(std::uint16_t field) {
  return append({.op = Op::begin_list, .imm = field});
}

Builder& Builder::append_string(Reg address, std::uint32_t max, Space space) {
  return append({.op = Op::append_string,
                 .dst = address.number,
                 .src = encode(space),
                 .offset = encode_cap(max)});
}

Builder& Builder::end_list(Reg detail) {
  return append({.op = Op::end_list, .dst = detail.number});
}

Builder& Builder::append_chain(Reg object, Reg first_end, Reg count, std::uint32_t next,
                               std::uint32_t name, std::uint32_t max) {
  const auto encode_offset = [](std::uint32_t offset) {
    return static_cast<std::uint16_t>(std::min<std::uint32_t>(offset, kMaxChainOffset + 1));
  };
  const ChainStep step{.next = encode_offset(next),
                       .max = static_cast<std::uint16_t>(encode_cap(max))};
  return append({.op = Op::append_chain,
                 .dst = object.number,
                 .src = first_end.number,
                 .size = count.number,
                 .offset = encode_offset(name),
                 .imm = std::bit_cast<std::uint64_t>(step)});
}

Builder& Builder::arm_return() { return append({.op = Op::arm_return}); }
Builder& Builder::send() { return append({.op = Op::send}); }
Builder& Builder::stop() { return append({.op = Op::stop}); }

Result<Program> Builder::build() const {
  if (!error_.empty()) return fail(ErrorCode::invalid_argument, "{}", error_);
  Program program = program_;
  for (const auto& [instruction, target] : fixups_) {
    if (target.index >= labels_.size() || labels_[target.index] == kUnbound)
      return fail(ErrorCode::invalid_argument, "instruction {} ({}) jumps to an unbound label",
                  instruction, op_info(program.code[instruction].op).name);
    program.code[instruction].offset = static_cast<std::int32_t>(
        labels_[target.index] - static_cast<std::int64_t>(instruction) - 1);
  }
  if (auto verdict = verify(program, role_); !verdict) return std::unexpected(verdict.error());
  return program;
}

}  // namespace glasshook::capture
