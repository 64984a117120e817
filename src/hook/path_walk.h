// Captures of Linux paths: code that walks dentries and mounts, and what its lists mean.
#pragma once

#include <cstdint>

#include "capture/builder.h"
#include "hook/guest_layout.h"

namespace glasshook::hook {

/// Steps (components and mount crossings) of one walk, at most.
inline constexpr std::uint16_t kPathSteps = 64;

/// Low bits of a path list's `detail`: how the walk ended.
enum PathStatus : std::uint8_t {
  kPathComplete = 0,     ///< at the root of the task (path) or of the file system (dentry)
  kPathTruncated = 1,    ///< after kPathSteps
  kPathUnreachable = 2,  ///< at a root that is not the task's, or at none
  kPathFaulted = 3,      ///< at unreadable memory
};
inline constexpr std::uint8_t kPathStatusMask = 0x0f;
/// Flag in `detail`: the leaf is not in its directory any more (deleted).
inline constexpr std::uint8_t kPathDeleted = 0x10;
/// Flag in `detail`: the last dentry belongs to no directory tree (a pipe, socket or memfd).
inline constexpr std::uint8_t kPathUnattached = 0x20;

/// Emits the list field of the `struct path` at the address in r0: names, leaf first, across mount
/// points up to the root of the running task. Uses r0..r9; may jump back kPathSteps times. Needs
/// emit_identity() before.
void emit_path(capture::Builder& builder, const GuestLayout& layout, std::uint16_t field);

/// Emits the list field of the `struct dentry` at the address in r0 up to the root of its file
/// system. Keeps the address in r1. Uses r0..r9; may jump back kPathSteps times.
void emit_dentry(capture::Builder& builder, const GuestLayout& layout, std::uint16_t field);

/// After emit_dentry(): emits the words field with the dentry's identity (kDentryWordsOffset).
void emit_dentry_words(capture::Builder& builder, const GuestLayout& layout, std::uint16_t field);

}  // namespace glasshook::hook
