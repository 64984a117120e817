#include "machine/stream_filter.h"

#include <algorithm>

namespace glasshook::machine {

std::string StreamFilter::feed(std::string_view bytes) {
  if (ended_) return {};
  held_ += bytes;
  if (const std::size_t at = held_.find(mark_); at != std::string::npos) {
    ended_ = true;
    std::string out = held_.substr(0, at);
    held_.clear();
    return out;
  }
  std::size_t keep = std::min(mark_.size() - 1, held_.size());
  while (keep > 0 &&
         !std::string_view(mark_).starts_with(std::string_view(held_).substr(held_.size() - keep)))
    --keep;
  std::string out = held_.substr(0, held_.size() - keep);
  held_.erase(0, out.size());
  return out;
}

}  // namespace glasshook::machine
