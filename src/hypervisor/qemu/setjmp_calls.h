// Which of QEMU's calls of sigsetjmp() begins the translation of a block, and what it tells of it.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>

#include "hypervisor/qemu/field_finder.h"

namespace glasshook::hypervisor::qemu {

/// A call as the stub finds it: twelve registers, the return address, the caller's stack frame.
struct SetjmpCall {
  static constexpr std::size_t kReturnAddress = 12, kWords = 21;
  std::array<std::uint64_t, kWords> words{};
};

/// The calls of one thread since it finished a block.
class SetjmpCalls {
 public:
  static constexpr std::size_t kMostPlaces = 8;
  struct Place {
    SetjmpCall last;
    unsigned count = 0;
  };

  void note(const SetjmpCall& call) {
    const auto used = places_.begin() + static_cast<std::ptrdiff_t>(used_);
    const auto same = std::find_if(places_.begin(), used, [&](const Place& place) {
      return place.last.words[SetjmpCall::kReturnAddress] == call.words[SetjmpCall::kReturnAddress];
    });
    if (same != used) {
      same->last = call;
      ++same->count;
    } else if (used_ < kMostPlaces) {
      places_[used_++] = {.last = call, .count = 1};
    }
  }
  void clear() { used_ = 0; }
  [[nodiscard]] auto begin() const { return places_.begin(); }
  [[nodiscard]] auto end() const { return places_.begin() + static_cast<std::ptrdiff_t>(used_); }

 private:
  std::array<Place, kMostPlaces> places_{};
  std::size_t used_ = 0;
};

/// QEMU calls sigsetjmp() once before it translates a block (10.0: setjmp_gen_code() in
/// accel/tcg/translate-all.c), and once for each instruction of it (i386_tr_translate_insn()).
/// Which is which, and where the first has the block's address and the host's address of its code,
/// is the compiler's choice; so it is learnt from blocks that QEMU shows afterwards.
class TranslationCallFinder {
 public:
  static constexpr std::size_t kMostPlaces = 32;
  struct Found {
    std::uint64_t return_address = 0;
    std::uint32_t address_word = 0, code_word = 0;  ///< of SetjmpCall
  };

  /// A block of several instructions at `address`, whose bytes the host has at `code`.
  std::optional<Found> observe(const SetjmpCalls& calls, std::uint64_t address,
                               std::uint64_t code) {
    for (const auto& place : calls) {
      if (place.count != 1) continue;
      const auto& words = place.last.words;
      const std::uint64_t caller = words[SetjmpCall::kReturnAddress];
      if (!places_.contains(caller) && places_.size() >= kMostPlaces) continue;
      auto& finders = places_[caller];
      finders.address.observe(words.data(), 0, words.size(), address);
      finders.code.observe(words.data(), 0, words.size(), code);
      if (finders.address.settled() && finders.code.settled())
        return Found{caller, finders.address.index(), finders.code.index()};
    }
    return std::nullopt;
  }

 private:
  struct Finders {
    FieldFinder address, code;
  };
  std::map<std::uint64_t, Finders> places_;
};

}  // namespace glasshook::hypervisor::qemu
