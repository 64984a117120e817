// The kernel's maple tree (lib/maple_tree.c), which holds the memory areas from 6.1 on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>

#include "guest/linux/kernel.h"
#include "guest/linux/listing.h"

namespace glasshook::linux_guest {

/// The entry stored at `index`, or empty. `root` is the value of maple_tree.ma_root.
[[nodiscard]] std::optional<Gva> maple_find(const LinuxKernel& kernel, std::uint64_t root,
                                            std::uint64_t index);

/// All entries in index order, at most `limit`; reads at most twice as many nodes.
[[nodiscard]] Listing<Gva> maple_entries(const LinuxKernel& kernel, std::uint64_t root,
                                         std::size_t limit);

}  // namespace glasshook::linux_guest
