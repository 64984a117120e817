#include "hypervisor/qemu/event_mask.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <optional>

#include "base/unique_fd.h"

namespace glasshook::hypervisor::qemu {
namespace {

/// Words of this process at addresses that may not be its own: the kernel, asked to write one to a
/// pipe, fails where a load would end the process.
class CarefulReader {
 public:
  CarefulReader() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return;
    out_ = UniqueFd(ends[0]);
    in_ = UniqueFd(ends[1]);
  }
  [[nodiscard]] std::optional<std::uint64_t> read(std::uint64_t address) const {
    std::uint64_t word = 0;
    const auto* at = reinterpret_cast<const void*>(address);
    if (::write(in_.get(), at, sizeof word) != sizeof word ||
        ::read(out_.get(), &word, sizeof word) != sizeof word)
      return std::nullopt;
    return word;
  }

 private:
  UniqueFd out_, in_;
};

bool points_to_mask(const CarefulReader& reader, std::uint64_t word) {
  return word != 0 && word % sizeof word == 0 && reader.read(word) == EventMask::kShowing;
}

}  // namespace

void EventMask::observe(const std::uint64_t* env) {
  if (candidates_.empty() && ++searches_ > kMostSearches) return;
  const CarefulReader reader;
  const auto word_before = [&](std::size_t i) {
    return reader.read(reinterpret_cast<std::uint64_t>(env) - i * sizeof *env);
  };
  const auto is_place = [&](std::size_t i) {
    const auto word = word_before(i);
    return word && points_to_mask(reader, *word);
  };
  if (candidates_.empty()) {
    observations_ = 0;
    for (std::size_t i = 1; i <= kWordsBefore; ++i)
      if (is_place(i)) candidates_.push_back(i);
  } else {
    std::erase_if(candidates_, [&](std::size_t i) { return !is_place(i); });
  }
  agree_ = !candidates_.empty();
  if (!agree_) return;
  ++observations_;
  const auto nearest = word_before(candidates_.front());
  agree_ =
      std::ranges::all_of(candidates_, [&](std::size_t i) { return word_before(i) == nearest; });
}

}  // namespace glasshook::hypervisor::qemu
