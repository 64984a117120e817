#include "guest/elf/function_extents.h"

#include <algorithm>
#include <iterator>
#include <set>

#include "guest/elf/instruction.h"

namespace glasshook::elf {
namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kMaxFunctionBytes = 256u << 10;
constexpr std::uint64_t kMaxTotalBytes = 1u << 20;

/// The bytes of [begin, end) up to the first missing page.
std::vector<std::byte> read_code(const CodeView& code, const Extent& extent) {
  std::vector<std::byte> bytes(std::min(extent.end - extent.begin, kMaxFunctionBytes));
  for (std::uint64_t done = 0; done < bytes.size();) {
    const std::uint64_t to_page_end = kPage - (extent.begin + done) % kPage;
    const std::uint64_t size = std::min<std::uint64_t>(to_page_end, bytes.size() - done);
    if (!code.read(extent.begin + done, std::span(bytes).subspan(done, size))) {
      bytes.resize(done);
      break;
    }
    done += size;
  }
  return bytes;
}

/// Calls `visit(instruction)` for each instruction from the start on. True when all of the extent
/// was decoded.
template <class Visit>
bool sweep(const CodeView& code, const Extent& extent, Visit&& visit) {
  const std::vector<std::byte> bytes = read_code(code, extent);
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto instruction = decode_flow(std::span(bytes).subspan(at), extent.begin + at);
    if (!instruction) return false;
    visit(*instruction);
    at += instruction->length;
  }
  return bytes.size() == extent.end - extent.begin;
}

class Search {
 public:
  explicit Search(const CodeView& code) : code_(code) {}

  ReturnExtents run(std::uint64_t function) {
    reach(function);
    // Ranges grow while they are looked at; each is looked at once.
    for (std::size_t i = 0; i < found_.ranges.size(); ++i) look_at(found_.ranges[i]);
    return std::move(found_);
  }

 private:
  /// Adds the function that holds an address, unless it is there already.
  void reach(std::uint64_t address) {
    const auto holds = [&](const Extent& range) { return range.contains(address); };
    if (std::ranges::any_of(found_.ranges, holds)) return;
    const std::optional<Extent> extent = code_.function_at(address);
    if (!extent || !extent->contains(address)) {
      ++found_.unresolved_tail_calls;
    } else if (is_stub(*extent, address)) {
      return;
    } else if (found_.ranges.size() == ReturnExtents::kMaxRanges) {
      found_.incomplete = true;
    } else {
      found_.ranges.push_back(*extent);
    }
  }

  /// A PLT stub is nothing but a jump through a slot; one unwind entry covers all stubs.
  bool is_stub(const Extent& extent, std::uint64_t address) {
    constexpr std::uint64_t kStubBytes = 16;
    const Extent stub{address, std::min(extent.end, address + kStubBytes)};
    std::optional<std::uint64_t> slot;
    bool only_padding = true;  // before the jump: endbr64 is a wide nop
    sweep(code_, stub, [&](const FlowInstruction& i) {
      if (only_padding && i.flow == Flow::slot_jump) slot = i.target;
      only_padding &= i.flow == Flow::padding;
    });
    if (slot) add_slot(*slot);
    return slot.has_value();
  }

  void look_at(const Extent extent) {
    const std::uint64_t size = extent.end - extent.begin;
    if (size > kMaxFunctionBytes || looked_at_ + size > kMaxTotalBytes) {
      found_.incomplete = true;
      return;
    }
    looked_at_ += size;
    bool runs_on = false;
    Places places;
    std::uint64_t address = extent.begin;
    const bool whole = sweep(code_, extent, [&](const FlowInstruction& i) {
      visit(extent, i, runs_on);
      note(extent, address, i, places);
      address += i.length;
    });
    if (whole && std::ranges::includes(places.begins, places.targets))
      std::ranges::move(places.returns, std::back_inserter(found_.places));
    if (!whole)
      found_.incomplete = true;
    else if (runs_on)
      reach(extent.end);
  }

  /// Where instructions of an extent begin, where jumps within it lead, and which of them return.
  struct Places {
    std::vector<std::uint64_t> begins;
    std::set<std::uint64_t> targets;
    std::vector<std::uint64_t> returns;
  };

  void note(const Extent& extent, std::uint64_t address, const FlowInstruction& i,
            Places& places) const {
    places.begins.push_back(address);
    const bool jumps = i.flow == Flow::jump || i.flow == Flow::branch;
    if (jumps && extent.contains(i.target)) places.targets.insert(i.target);
    const bool through_thunk = i.flow == Flow::jump && code_.classify &&
                               code_.classify(i.target) == JumpTarget::return_thunk;
    if (i.returns || through_thunk) places.returns.push_back(address);
  }

  void visit(const Extent& extent, const FlowInstruction& i, bool& runs_on) {
    switch (i.flow) {
      case Flow::padding:
        return;  // behind a jump or a return it does not run
      case Flow::next:
        runs_on = true;
        return;
      case Flow::stop:
      case Flow::call:  // compilers end a function with one that does not return
        break;
      case Flow::branch:
      case Flow::jump:
        if (!extent.contains(i.target)) jump_out(i.target);
        runs_on = i.flow == Flow::branch;
        return;
      case Flow::slot_jump:
        add_slot(i.target);
        break;
      case Flow::indirect_jump:
        ++found_.indirect_jumps;
        break;
    }
    runs_on = false;
  }

  void jump_out(std::uint64_t target) {
    const JumpTarget kind = code_.classify ? code_.classify(target) : JumpTarget::code;
    if (kind == JumpTarget::code) reach(target);
    if (kind == JumpTarget::indirect_thunk) ++found_.unresolved_tail_calls;
  }

  void add_slot(std::uint64_t slot) {
    if (std::ranges::find(found_.tail_call_slots, slot) != found_.tail_call_slots.end()) return;
    ++found_.unresolved_tail_calls;
    found_.tail_call_slots.push_back(slot);
  }

  const CodeView& code_;
  ReturnExtents found_;
  std::uint64_t looked_at_ = 0;
};

}  // namespace

CodeView code_of(const ElfModule& module) {
  return {.read = [&module](std::uint64_t address,
                            std::span<std::byte> out) { return module.read(address, out); },
          .function_at = [&module](std::uint64_t address) { return module.function_at(address); },
          .classify = {}};
}

ReturnExtents find_return_extents(const CodeView& code, std::uint64_t function) {
  return Search(code).run(function);
}

std::vector<std::uint64_t> ifunc_candidates(const CodeView& code, std::uint64_t resolver) {
  std::vector<std::uint64_t> candidates;
  const std::optional<Extent> extent = code.function_at(resolver);
  if (!extent) return candidates;
  sweep(code, *extent, [&](const FlowInstruction& i) {
    if (!i.takes_address || extent->contains(i.target)) return;
    const std::optional<Extent> taken = code.function_at(i.target);
    if (taken && taken->begin == i.target &&
        std::ranges::find(candidates, i.target) == candidates.end())
      candidates.push_back(i.target);
  });
  return candidates;
}

}  // namespace glasshook::elf
