#include "machine/image.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <xxhash.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <system_error>

#include "base/text.h"
#include "machine/process.h"
#include "machine/resources.h"

namespace glasshook::machine {
namespace fs = std::filesystem;
namespace {

constexpr auto kBuildTime = std::chrono::minutes(30);
constexpr auto kCommonRecipe = "common";      // what the recipes share
constexpr auto kDoneFile = "kernel-package";  // the last one a build writes

std::string hash_text(std::string_view text) {
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

Result<std::string> read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), {}};
  if (!in.good() && !in.eof()) return fail(ErrorCode::io, "cannot read {}", path.native());
  return text;
}

/// The lines of a file that hold more than a comment; none without the file.
std::vector<std::string> read_list(const fs::path& path) {
  std::vector<std::string> lines;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (!line.empty() && !line.starts_with('#')) lines.push_back(line);
  return lines;
}

/// Hash of a recipe, what it shares with others, and the Debian release it is built for.
Result<std::string> recipe_key(const fs::path& recipe, const std::string& suite) {
  std::map<std::string, fs::path> files;  // in name order, so that the hash is stable
  std::error_code error;
  const fs::path recipes = recipe.parent_path();
  for (const fs::path& directory : {recipes / kCommonRecipe, recipe})
    for (const auto& entry : fs::recursive_directory_iterator(directory, error))
      if (entry.is_regular_file()) files[entry.path().lexically_relative(recipes)] = entry.path();
  std::string all = suite + '\n';
  for (const auto& [file, path] : files) {
    auto content = read_file(path);
    if (!content) return std::unexpected(content.error());
    all += fmt::format("{} {}\n{}", file, content->size(), *content);
  }
  return hash_text(all);
}

/// Debian's name for this system's release; empty elsewhere.
std::string host_codename() {
  std::ifstream in("/etc/os-release");
  constexpr std::string_view kKey = "VERSION_CODENAME=";
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(kKey)) return line.substr(kKey.size());
  return {};
}

std::uint64_t bytes_on_disk(const fs::path& directory) {
  std::uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    struct stat info{};
    if (::lstat(entry->path().c_str(), &info) == 0)
      bytes += static_cast<std::uint64_t>(info.st_blocks) * 512;
  }
  return bytes;
}

Result<> make_directory(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    return with_remedy(fail(ErrorCode::io, "cannot make {}: {}", path.native(), error.message()),
                       "set GLASSHOOK_CACHE to a directory that can be written");
  return {};
}

/// Hands each line a child writes to `progress`, until it closes its output.
Result<> follow_lines(int fd, const ProgressSink& progress, Deadline deadline) {
  std::string line;
  std::array<char, 1024> chunk;
  for (;;) {
    pollfd entry{fd, POLLIN, 0};
    const int ready = ::poll(&entry, 1, poll_timeout(deadline));
    if (ready == 0 && Clock::now() >= deadline)
      return fail(ErrorCode::timeout, "building the image takes too long");
    if (ready <= 0) continue;
    const ssize_t got = ::read(fd, chunk.data(), chunk.size());
    if (got <= 0) return {};
    for (const char c : std::string_view(chunk.data(), static_cast<std::size_t>(got))) {
      if (c != '\n') {
        line += c;
      } else {
        progress(line);
        line.clear();
      }
    }
  }
}

/// Runs a recipe's build script; what it prints are progress lines.
Result<> run_recipe(std::vector<std::string> command, const ProgressSink& progress) {
  std::array<int, 2> pipe{-1, -1};
  if (::pipe2(pipe.data(), O_CLOEXEC) != 0)
    return fail(ErrorCode::io, "pipe: {}", std::strerror(errno));
  const UniqueFd read_end(pipe[0]);
  UniqueFd write_end(pipe[1]);
  const Deadline deadline = in(kBuildTime);
  auto child = Child::start({std::move(command), {}, write_end.get()});
  if (!child) return std::unexpected(child.error());
  write_end.reset();
  if (auto ok = follow_lines(read_end.get(), progress, deadline); !ok) return ok;
  const auto status = child->wait(deadline);
  if (!status) return std::unexpected(status.error());
  if (status->success()) return {};
  std::string said = child->error_output();
  std::string remedy;
  if (const std::size_t at = said.rfind("remedy: "); at != std::string::npos) {
    remedy = said.substr(at + 8, said.find('\n', at) - at - 8);
    said.erase(at);
  }
  while (said.ends_with('\n')) said.pop_back();
  return with_remedy(
      fail(ErrorCode::io, "building the image failed ({}): {}", status->text(), to_printable(said)),
      remedy);
}

/// The same sink with the time since now before each line.
ProgressSink timed(const ProgressSink& progress) {
  return [&progress, begin = Clock::now()](std::string_view line) {
    const auto seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    progress(fmt::format("[{:5.1f}s] {}", seconds, line));
  };
}

}  // namespace

Result<FileLock> FileLock::acquire(const fs::path& file, Deadline deadline,
                                   const std::function<void()>& waiting) {
  UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!fd.valid())
    return fail(ErrorCode::io, "cannot open {}: {}", file.native(), std::strerror(errno));
  bool told = false;
  while (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return fail(ErrorCode::io, "cannot lock {}: {}", file.native(), std::strerror(errno));
    if (Clock::now() >= deadline)
      return fail(ErrorCode::timeout, "another process holds {}", file.native());
    if (!std::exchange(told, true)) waiting();
    ::poll(nullptr, 0, 100);
  }
  return FileLock(std::move(fd));
}

Result<ImageStore> ImageStore::open() {
  auto recipes = data_directory("guests");
  if (!recipes) return std::unexpected(recipes.error());
  return ImageStore(std::move(*recipes), cache_directory());
}

std::vector<ImageStore::Source> ImageStore::sources() const {
  std::vector<Source> sources;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(recipes_, error)) {
    if (!fs::exists(entry.path() / "build")) continue;
    const std::string name = entry.path().filename();
    sources.push_back({name, entry.path(), {}});
    for (std::string& suite : read_list(entry.path() / "suites"))
      sources.push_back({fmt::format("{}-{}", name, suite), entry.path(), std::move(suite)});
  }
  std::ranges::sort(sources, {}, &Source::guest);
  return sources;
}

std::vector<std::string> ImageStore::guests() const {
  std::vector<std::string> names;
  for (Source& source : sources()) names.push_back(std::move(source.guest));
  return names;
}

Result<ImageStore::Source> ImageStore::source(std::string_view guest) const {
  for (Source& source : sources())
    if (source.guest == guest) return std::move(source);
  return with_remedy(
      fail(ErrorCode::not_found, "there is no guest called '{}'", to_printable(guest)),
      fmt::format("known guests: {}", fmt::join(guests(), ", ")));
}

Result<std::string> ImageStore::key_of(const Source& source) {
  return recipe_key(source.recipe, source.suite.empty() ? host_codename() : source.suite);
}

Image ImageStore::describe(const fs::path& directory) const {
  const std::string id = directory.filename();
  const std::size_t dash = id.rfind('-');
  Image image{.name = id.substr(0, dash), .key = id.substr(dash + 1), .directory = directory};
  image.bytes = bytes_on_disk(directory);
  if (auto text = read_file(directory / kDoneFile)) {
    while (text->ends_with('\n')) text->pop_back();
    image.kernel = to_printable(*text);
  }
  const auto from = source(image.name);
  image.current = from && key_of(*from).value_or("") == image.key;
  return image;
}

Result<Image> ImageStore::find(std::string_view name) const {
  const auto from = source(name);
  if (!from) return std::unexpected(from.error());
  const auto key = key_of(*from);
  if (!key) return std::unexpected(key.error());
  const fs::path directory = images_ / fmt::format("{}-{}", name, *key);
  if (fs::exists(directory / kDoneFile)) return describe(directory);
  const bool older = std::ranges::any_of(list(), [&](const Image& i) { return i.name == name; });
  return with_remedy(fail(ErrorCode::not_found, "the image of guest '{}' {}", name,
                          older ? "was built from another version of its recipe" : "is not built"),
                     fmt::format("glasshook image build {}", name));
}

Result<Image> ImageStore::build(std::string_view name, bool rebuild,
                                const ProgressSink& progress) const {
  const auto from = source(name);
  if (!from) return std::unexpected(from.error());
  const auto key = key_of(*from);
  if (!key) return std::unexpected(key.error());
  if (auto ok = make_directory(images_); !ok) return std::unexpected(ok.error());
  const ProgressSink say = timed(progress);
  const fs::path target = images_ / fmt::format("{}-{}", name, *key);
  {
    auto lock = FileLock::acquire(images_ / fmt::format("{}.lock", name), in(kBuildTime),
                                  [&] { say("waiting for another process that builds it"); });
    if (!lock) return std::unexpected(lock.error());
    std::error_code error;
    if (rebuild) fs::remove_all(target, error);
    if (!fs::exists(target / kDoneFile)) {
      const fs::path half = images_ / fmt::format(".{}.part", name);
      fs::remove_all(half, error);
      std::vector<std::string> command{from->recipe / "build", half};
      if (!from->suite.empty()) command.push_back(from->suite);
      if (auto ok = run_recipe(std::move(command), say); !ok) {
        fs::remove_all(half, error);
        return std::unexpected(ok.error());
      }
      fs::remove_all(target, error);
      fs::rename(half, target, error);
      if (error) return fail(ErrorCode::io, "cannot make {}: {}", target.native(), error.message());
    }
  }
  auto image = find(name);
  if (!image) return image;
  auto ready = snapshot(*image, {}, say);
  if (!ready) return std::unexpected(ready.error());
  say("done");
  return image;
}

std::vector<Image> ImageStore::list() const {
  std::vector<Image> images;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(images_, error))
    if (fs::exists(entry.path() / kDoneFile) && !entry.path().filename().native().starts_with('.'))
      images.push_back(describe(entry.path()));
  std::ranges::sort(images, {}, &Image::id);
  return images;
}

Result<std::size_t> ImageStore::remove(std::string_view name_or_id) const {
  std::size_t removed = 0;
  for (const Image& image : list()) {
    if (image.name != name_or_id && image.id() != name_or_id) continue;
    std::error_code error;
    fs::remove_all(image.directory, error);
    if (error)
      return fail(ErrorCode::io, "cannot remove {}: {}", image.directory.native(), error.message());
    ++removed;
  }
  if (removed == 0)
    return with_remedy(
        fail(ErrorCode::not_found, "there is no image '{}'", to_printable(name_or_id)),
        "glasshook image list");
  return removed;
}

Result<GuestProfile> ImageStore::profile(std::string_view name) const {
  const auto from = source(name);
  if (!from) return std::unexpected(from.error());
  const auto home = read_file(from->recipe / "home");
  if (!home) return std::unexpected(home.error());
  const auto programs = read_file(from->recipe / "programs");
  if (!programs) return std::unexpected(programs.error());
  return GuestProfile{.home = home->substr(0, home->find('\n')),
                      .runs_windows_programs = programs->find("pe\n") != std::string::npos};
}

Result<MachineConfig> ImageStore::machine(const Image& image, const MachineShape& shape) const {
  const auto from = source(image.name);
  if (!from) return std::unexpected(from.error());
  auto append = read_file(from->recipe / "append");
  if (!append) return std::unexpected(append.error());
  while (append->ends_with('\n')) append->pop_back();
  MachineConfig config;
  const std::string_view kind = shape.stealth ? "-stealth" : "";
  config.kernel = image.directory / fmt::format("vmlinuz{}", kind);
  config.initrd = image.directory / fmt::format("initrd{}", kind);
  config.append = std::move(*append);
  config.disks = {{image.directory / "disk.raw", "raw"}};
  config.smp = shape.smp;
  config.memory_mib = shape.memory_mib;
  config.stealth = shape.stealth;
  config.accelerator = shape.accelerator;
  return config;
}

}  // namespace glasshook::machine
