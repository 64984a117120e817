// Guest images: built from recipes in guests/, kept in the cache directory.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "machine/vm.h"

namespace glasshook::machine {

/// Told what a long task is doing, a line at a time.
using ProgressSink = std::function<void(std::string_view)>;

/// One image on disk.
struct Image {
  std::string name;  ///< of the guest: "linux", "linux-trixie"
  std::string key;   ///< hash of the recipe it was built from
  std::filesystem::path directory;
  std::uint64_t bytes = 0;  ///< on disk, with its snapshots
  std::string kernel = {};  ///< package and version
  bool current = true;      ///< built from the recipe as it is now

  [[nodiscard]] std::string id() const { return name + "-" + key; }
};

/// What can be chosen about the machine that runs an image.
struct MachineShape {
  std::uint32_t smp = 1;
  std::uint64_t memory_mib = 512;
  bool stealth = false;  ///< see machine/stealth.h
  Accelerator accelerator = Accelerator::tcg;
};

/// What a recipe says about the commands that run in its guest.
struct GuestProfile {
  std::string home;  ///< where they start unless told otherwise
  bool runs_windows_programs = false;
};

/// Builds, finds and removes images. Several processes may use one cache at once.
///
/// A recipe makes the guest of its own name, from this machine's Debian release, and one more,
/// RECIPE-SUITE, for each release that its file `suites` names, a line each.
class ImageStore {
 public:
  /// `recipes` is the guests/ directory, `cache` the cache directory (made when needed).
  ImageStore(std::filesystem::path recipes, const std::filesystem::path& cache)
      : recipes_(std::move(recipes)), images_(cache / "images") {}
  /// The store in this user's cache directory.
  [[nodiscard]] static Result<ImageStore> open();

  /// The image of the recipe as it is now. ErrorCode::not_found names the command that builds it.
  [[nodiscard]] Result<Image> find(std::string_view name) const;
  /// Builds the image unless it is there (or `rebuild`). Waits while another process builds it.
  [[nodiscard]] Result<Image> build(std::string_view name, bool rebuild,
                                    const ProgressSink& progress) const;
  /// Every image in the cache, older ones too, in name order.
  [[nodiscard]] std::vector<Image> list() const;
  /// Removes the images with that name or id; how many there were.
  Result<std::size_t> remove(std::string_view name_or_id) const;
  /// Names of the guests that can be built.
  [[nodiscard]] std::vector<std::string> guests() const;

  /// What commands find in the guest of that name, built or not.
  [[nodiscard]] Result<GuestProfile> profile(std::string_view name) const;
  /// A machine that runs the image.
  [[nodiscard]] Result<MachineConfig> machine(const Image& image, const MachineShape& shape) const;
  /// The snapshot of a ready, warmed-up guest; boots one to make it when it is not there.
  [[nodiscard]] Result<std::filesystem::path> snapshot(const Image& image,
                                                       const MachineShape& shape,
                                                       const ProgressSink& progress) const;
  /// For a machine with `stealth`: its state as its kernel begins, when firmware and devices have
  /// been given other names (machine/disguise.h). Made when it is not there.
  [[nodiscard]] Result<std::filesystem::path> kernel_entry(const Image& image,
                                                           const MachineConfig& config,
                                                           const ProgressSink& progress) const;

 private:
  /// What a guest is built from.
  struct Source {
    std::string guest;
    std::filesystem::path recipe;
    std::string suite;  ///< empty: this machine's own
  };
  [[nodiscard]] std::vector<Source> sources() const;
  [[nodiscard]] Result<Source> source(std::string_view guest) const;
  /// Hash of the recipe and the release.
  [[nodiscard]] static Result<std::string> key_of(const Source& source);
  [[nodiscard]] Result<> make_snapshot(const Image& image, const MachineConfig& config,
                                       const std::filesystem::path& file,
                                       const ProgressSink& progress) const;
  [[nodiscard]] Image describe(const std::filesystem::path& directory) const;

  std::filesystem::path recipes_;
  std::filesystem::path images_;
};

/// File name of a snapshot: the shape, and a hash of snapshot_identity().
[[nodiscard]] std::string snapshot_name(const MachineShape& shape, std::string_view identity);

/// Held while one process changes something others may be changing too.
class FileLock {
 public:
  /// Waits for the lock; `waiting` is called once if another process holds it.
  [[nodiscard]] static Result<FileLock> acquire(const std::filesystem::path& file,
                                                Deadline deadline,
                                                const std::function<void()>& waiting);

 private:
  explicit FileLock(UniqueFd fd) : fd_(std::move(fd)) {}
  UniqueFd fd_;
};

}  // namespace glasshook::machine
